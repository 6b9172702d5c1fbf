"""Intervals of what is counted in a confusion matrix: between which values accuracy, F1 and others
lie with 95 % confidence, were the test rows drawn again.

Shares of counted rows have Wilson's interval (1927) and F1 that of the Jaccard index, of which it
is a function; a mean of shares has Wilson's for its own variance (Korn and Graubard, 1998). What is
no share is drawn again and again from the cells (bootstrap, bias-corrected and accelerated: Efron,
1987). Plain percentiles of the bootstrap would be too narrow for 200 rows, as
`python -m benchmarks.intervals` measures.

Shape legend: C classes, K cells that hold rows, R resamples, S statistics.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

LEVEL = 0.95
# Draws of cells in all, so that the intervals of many classes take no longer than those of few.
_MOST_DRAWS, _MOST_RESAMPLES, _LEAST_RESAMPLES = 2_000_000, 2000, 500
_BLOCK_CELLS = 2_000_000


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


class ConfusionIntervals(NamedTuple):
    """Intervals of a whole confusion matrix, and of each class; None where none is defined."""

    whole: dict[str, Interval | None]
    by_class: dict[str, list[Interval | None]]


def find_share_interval(count: float, total: float) -> Interval | None:
    """Wilson's interval of the share that `count` of `total` rows are; None of no rows."""
    if total <= 0:
        return None
    z = -ndtri((1 - LEVEL) / 2)
    share = count / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    # the end at which nothing or everything is counted is exact
    low = 0.0 if share <= 0 else max(0.0, middle - half)
    high = 1.0 if share >= 1 else min(1.0, middle + half)
    return Interval(float(low), float(high))


def find_f1_interval(right: int, wrong: int) -> Interval | None:
    """The interval of F1 = 2 right / (2 right + wrong), from that of right / (right + wrong).

    Args:
        right: rows of the class that were predicted as it.
        wrong: those of the class that were not, and others that were.
    """
    interval = find_share_interval(right, right + wrong)
    return interval and Interval(*(2 * end / (1 + end) for end in interval))


def find_mean_interval(counts: Sequence[tuple[int, int]]) -> Interval | None:
    """The interval of the mean of independent shares, each weighted alike whatever its rows are:
    Wilson's, for as many rows as would give one share the variance that the mean has.

    Args:
        counts: of each share how many rows are counted, and of how many.
    """
    known = np.array([pair for pair in counts if pair[1] > 0], dtype=float)
    if not len(known):
        return None
    hits, rows = known.T
    # one more row of either kind: where all are counted, the variance is not 0
    shares = (hits + 1) / (rows + 2)
    variance = (shares * (1 - shares) / rows).sum() / len(known) ** 2
    total = shares.mean() * (1 - shares.mean()) / variance
    return find_share_interval(float((hits / rows).mean() * total), float(total))


def find_confusion_intervals(matrix: np.ndarray, *, seed: int = 0) -> ConfusionIntervals:
    """The intervals of `accuracy`, `balanced_accuracy`, `f1_macro` and `matthews`, and for every
    class of `precision`, `recall` and `f1`.

    Args:
        matrix: [C, C] rows by true and predicted class.
        seed: of the bootstrap.
    """
    right = np.diagonal(matrix).tolist()
    truths, predicted = matrix.sum(1).tolist(), matrix.sum(0).tolist()
    counts = list(zip(right, truths, predicted, strict=True))
    drawn = bootstrap_cells(matrix, _compute_macro_f1_and_matthews, seed=seed)
    return ConfusionIntervals(
        {
            "accuracy": find_share_interval(sum(right), int(matrix.sum())),
            "balanced_accuracy": find_mean_interval([(hits, truth) for hits, truth, _ in counts]),
            "f1_macro": drawn[0],
            "matthews": drawn[1],
        },
        {
            "precision": [find_share_interval(hits, said) for hits, _, said in counts],
            "recall": [find_share_interval(hits, truth) for hits, truth, _ in counts],
            "f1": [find_f1_interval(hits, truth + said - 2 * hits) for hits, truth, said in counts],
        },
    )


def bootstrap_cells(
    matrix: np.ndarray, compute: Callable[[np.ndarray], np.ndarray], *, seed: int
) -> list[Interval | None]:
    """BCa intervals of statistics of a table of counts, whose rows are drawn again.

    Drawing N rows with replacement draws the counts of the cells from a multinomial distribution,
    so the cost does not depend on N.

    Args:
        matrix: [C, C] counts.
        compute: the statistics [..., S] of tables [..., C, C]; NaN where one is not defined.

    Returns:
        S intervals; None for a statistic that is not defined or the same in all resamples.
    """
    cells = np.flatnonzero(matrix)
    counts = matrix.ravel()[cells]
    total = int(counts.sum())
    if total == 0:
        return [None] * compute(matrix.astype(float)).shape[-1]
    resamples = int(np.clip(_MOST_DRAWS // len(cells), _LEAST_RESAMPLES, _MOST_RESAMPLES))
    generator = np.random.default_rng(seed)

    def compute_tables(tables: np.ndarray) -> np.ndarray:
        block = max(1, _BLOCK_CELLS // matrix.size)
        parts = []
        for begin in range(0, len(tables), block):
            part = tables[begin : begin + block]
            full = np.zeros((len(part), matrix.size))
            full[:, cells] = part
            parts.append(compute(full.reshape(-1, *matrix.shape)))
        return np.concatenate(parts)

    drawn = compute_tables(generator.multinomial(total, counts / total, size=resamples))
    # the table without one row of each cell: the jackknife, with cells in place of rows
    left_out = compute_tables(counts - np.eye(len(cells)))
    measured = compute(matrix.astype(float))
    return [
        find_bca_interval(measured[index], drawn[:, index], left_out[:, index], counts)
        for index in range(len(measured))
    ]


def find_bca_interval(
    measured: float, drawn: np.ndarray, left_out: np.ndarray, counts: np.ndarray
) -> Interval | None:
    """The bias-corrected and accelerated interval of one statistic; None if it never varies.

    Args:
        measured: its value.
        drawn: [R] its values in resamples, NaN where it is not defined.
        left_out: its values without one row of each cell.
        counts: how many rows each cell has.
    """
    drawn = np.sort(drawn[np.isfinite(drawn)])
    known = np.isfinite(left_out)
    left_out, counts = left_out[known], counts[known]
    if not np.isfinite(measured) or len(drawn) < _LEAST_RESAMPLES // 2 or drawn[0] == drawn[-1]:
        return None
    # resamples equal to what was measured lie half below it
    below = (np.mean(drawn < measured) + np.mean(drawn <= measured)) / 2
    bias = ndtri(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    steps = np.average(left_out, weights=counts) - left_out
    spread = float((counts * steps**2).sum())
    acceleration = 0.0 if spread == 0 else float((counts * steps**3).sum()) / (6 * spread**1.5)
    tail = ndtri(np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    shares = ndtr(bias + (bias + tail) / (1 - acceleration * (bias + tail)))
    low, high = shares * (len(drawn) - 1)
    return Interval(float(drawn[int(np.floor(low))]), float(drawn[int(np.ceil(high))]))


def _compute_macro_f1_and_matthews(tables: np.ndarray) -> np.ndarray:
    """The mean F1 over the classes that occur, and Matthews' correlation [..., 2]."""
    right = np.einsum("...ii->...i", tables)
    truths, predicted = tables.sum(-1), tables.sum(-2)
    total, hits = truths.sum(-1), right.sum(-1)
    occurs = truths + predicted > 0
    f1 = np.divide(2 * right, truths + predicted, out=np.zeros_like(right), where=occurs)
    spread = (total**2 - (predicted**2).sum(-1)) * (total**2 - (truths**2).sum(-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        matthews = (hits * total - (truths * predicted).sum(-1)) / np.sqrt(spread)
    matthews = np.where(spread > 0, matthews, np.nan)
    return np.stack([f1.sum(-1) / np.maximum(occurs.sum(-1), 1), matthews], -1)
