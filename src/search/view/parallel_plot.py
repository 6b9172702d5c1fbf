"""The plot of a sweep with one vertical axis for each parameter and metric, and a line across them
for each trial.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from src.core.formatting import format_quantity, shorten_keys, truncate_middle
from src.search.trials import (
    SweepSnapshot,
    TrialRecord,
    describe_best_trials,
    rank_trials,
    select_best_trials,
)
from src.search.view.plot_axes import (
    INK_COLOR,
    STATE_COLORS,
    add_legend,
    create_panels,
    infer_scales,
    robust_axis_range,
    set_metric_range,
)

_GOOD_TO_BAD = LinearSegmentedColormap.from_list("", ["#1b6fa8", "#5fae9f", "#e3c567"])


def plot_parallel_coordinates(sweep: SweepSnapshot, log_keys: set[str]) -> Figure | None:
    """One vertical axis for each parameter and metric, and one line across them for each trial."""
    finished = rank_trials(sweep.rows, sweep.modes)
    pruned = [trial for trial in sweep.rows if trial.state == "pruned"]
    scales = infer_scales([*finished, *pruned], sweep.keys, log_keys)
    if len(finished) < 2 or len(scales) < 2:
        return None
    figure, (host,) = create_panels(
        "Parameters and results, one line a trial", _describe_lines(sweep, finished), height=4.0
    )
    short = shorten_keys(sweep.keys)
    names = [*(short[key] for key in scales), *sweep.monitors]
    names = [truncate_middle(name, 18) for name in names]
    figure.set_figwidth(max(7.2, 1.45 * len(names)))
    host.set(xlim=(-0.3, len(names) - 0.5), ylim=(0, 1), yticks=[])
    host.set_xticks(range(len(names)), names, weight="bold")
    host.xaxis.tick_top()
    host.grid(visible=False)
    columns = []
    for place in range(len(names)):
        axes = host.twinx()
        axes.spines[["left", "top", "bottom"]].set_visible(False)
        axes.spines["right"].set(position=("data", place), color=INK_COLOR)
        axes.tick_params(labelsize=8, labelcolor=INK_COLOR, color=INK_COLOR, length=3)
        columns.append(axes)
    for axes, scale in zip(columns, scales.values(), strict=False):
        scale.apply(axes, "y")
    for index, axes in enumerate(columns[len(scales) :]):
        values = [trial.values[index] for trial in finished if trial.values]
        set_metric_range(axes, "y", values, sweep.modes[index])
    for axes in columns:
        for label in axes.get_yticklabels():
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.75})

    def line(trial: TrialRecord) -> list[tuple[int, float]]:
        positions = [
            scale.position(trial.params[key]) if key in trial.params else math.nan
            for key, scale in scales.items()
        ]
        # a pruned trial's line ends before the metrics, which it did not reach
        positions += (trial.values or ()) if trial.state == "finished" else ()
        heights = [
            (axes.transScale + axes.transLimits).transform((0, position))[1]
            for axes, position in zip(columns, positions, strict=False)
        ]
        return list(enumerate(np.clip(heights, 0, 1)))

    alpha = min(0.85, max(0.25, 25 / len(finished)))
    if pruned:
        dashed: dict[str, Any] = {"colors": STATE_COLORS["pruned"], "linestyles": "dashed"}
        lines = [line(trial) for trial in pruned]
        host.add_collection(
            LineCollection(lines, **dashed, linewidths=0.8, alpha=0.6 * alpha, label="pruned")
        )
    # the best are drawn last, on top
    finished.reverse()
    host.add_collection(
        LineCollection(
            [line(trial) for trial in finished],
            array=[trial.values[0] for trial in finished if trial.values],
            cmap=_GOOD_TO_BAD if sweep.modes[0] == "min" else _GOOD_TO_BAD.reversed(),
            norm=Normalize(*columns[len(scales)].get_ylim()),
            linewidths=1.2,
            alpha=alpha,
        )
    )
    lines = [line(trial) for trial in select_best_trials(finished, sweep.modes)]
    host.add_collection(
        LineCollection(lines, colors=STATE_COLORS["best"], linewidths=2.6, label="best")
    )
    add_legend(figure)
    return figure


def _describe_lines(sweep: SweepSnapshot, finished: Sequence[TrialRecord]) -> str:
    """What the colours say, which trial is the best, and how many lines stand at the end of an axis
    since their values are beyond it.
    """
    beyond: set[int] = set()
    for index, mode in enumerate(sweep.modes):
        values = {trial.number: trial.values[index] for trial in finished if trial.values}
        low, high = robust_axis_range(list(values.values()), mode)
        beyond |= {number for number, value in values.items() if not low <= value <= high}
    parts = [f"colour: {sweep.monitors[0]}", describe_best_trials(sweep)]
    if beyond:
        parts.append(f"{format_quantity(len(beyond), 'trial')} beyond an axis, drawn at its end")
    return "  ·  ".join(parts)
