"""The judgement of predicted values: intervals and residuals.

Shape legend: N rows, R resamples.
"""

import numpy as np

from src.evaluation import report_plots as plots
from src.evaluation.intervals import Interval, find_bca_interval
from src.evaluation.judgement import Judgement
from src.evaluation.report import Predictions
from src.evaluation.report_page import Section

_RESAMPLES, _BLOCK = 1000, 50
_NAMES = ("mae", "rmse", "pearson")


def judge_values(predictions: Predictions) -> Judgement:
    """Intervals of `mae`, `rmse` and `pearson`, and the residuals."""
    targets, outputs = (values.double().numpy() for values in predictions[1:])
    values = _compute_from_moments(_list_moments(targets, outputs).mean(0, keepdims=True))[0]
    intervals = bootstrap_values(targets, outputs)
    known = [index for index in range(len(_NAMES)) if np.isfinite(values[index])]
    ends = [intervals[index] or (None, None) for index in known]
    table: dict[str, list] = {
        "metric": [_NAMES[index] for index in known],
        "value": [float(values[index]) for index in known],
        "low": [low for low, _ in ends],
        "high": [high for _, high in ends],
    }
    return Judgement(
        {},
        {"intervals": table},
        {"residuals": plots.plot_residuals(targets, outputs)},
        [
            Section("Result, with intervals of 95 %", table="intervals"),
            Section("Predicted and true values", figure="scatter"),
            Section("Residuals", figure="residuals"),
        ],
    )


def bootstrap_values(
    targets: np.ndarray, outputs: np.ndarray, *, seed: int = 0
) -> list[Interval | None]:
    """BCa intervals of mae, rmse and pearson, whose rows are drawn again.

    All three are functions of means, so that a resample is one product with how often each row is
    drawn. The memory is that of 50 resamples.

    Args:
        targets, outputs: [N].
        seed: of the draws.
    """
    moments = _list_moments(targets, outputs)
    rows = len(moments)
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(_RESAMPLES // _BLOCK):
        times = np.stack(
            [
                np.bincount(generator.integers(rows, size=rows), minlength=rows)
                for _ in range(_BLOCK)
            ]
        )
        drawn.append(_compute_from_moments(times @ moments / rows))
    resampled = np.concatenate(drawn)
    left_out = _compute_from_moments((moments.sum(0) - moments) / max(1, rows - 1))
    measured = _compute_from_moments(moments.mean(0, keepdims=True))[0]
    ones = np.ones(rows)
    return [
        find_bca_interval(measured[index], resampled[:, index], left_out[:, index], ones)
        for index in range(len(_NAMES))
    ]


def _list_moments(targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """What is averaged [N, 7]: the miss, its square, and the moments of a correlation.

    Values are centred first, since squares of far values would leave no digits.
    """
    miss = outputs - targets
    x, y = targets - targets.mean(), outputs - outputs.mean()
    return np.stack([np.abs(miss), miss**2, x, y, x * y, x**2, y**2], 1)


def _compute_from_moments(means: np.ndarray) -> np.ndarray:
    """The three statistics [R, 3] from means [R, 7]."""
    mae, square, x, y, xy, xx, yy = means.T
    with np.errstate(divide="ignore", invalid="ignore"):
        pearson = (xy - x * y) / np.sqrt((xx - x**2) * (yy - y**2))
    return np.stack([mae, np.sqrt(square), pearson], -1)
