"""Groups of runs that differ only in their seeds: means with intervals, whether one group is
better than another, and how many more seeds would settle it.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

CONFIDENCE = 0.95
POWER = 0.8
# beyond it the groups are as good as equal for anybody who trains them
_MAX_SEEDS = 1000


class MeanInterval(NamedTuple):
    """The mean of independent values with the interval of Student's t distribution.

    `deviation` is the standard deviation of a single value, with `size - 1`; it and the interval
    are None for one value.
    """

    size: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None


class GroupDifference(NamedTuple):
    """The mean of the second group minus that of the first, by Welch's t test (1947).

    `more_seeds` is how many further runs each group would need on average to show this difference
    with a probability of 80 % at `level`, if the true difference and the true standard deviations
    were those seen here; 0 where it is shown already, None for more than 1,000.
    """

    difference: float
    low: float
    high: float
    p_value: float
    more_seeds: int | None


class NoSpreadError(ValueError):
    """Each of two groups has one value alone, and it is not the other's."""


def compute_mean_interval(values: Sequence[float]) -> MeanInterval:
    """The mean of at least one finite value."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return MeanInterval(len(values), mean, None, None, None)
    deviation = statistics.stdev(values)
    half = _t_quantile(len(values) - 1, CONFIDENCE) * deviation / math.sqrt(len(values))
    return MeanInterval(len(values), mean, deviation, mean - half, mean + half)


def compare_groups(
    first: Sequence[float], second: Sequence[float], *, level: float = 1 - CONFIDENCE
) -> GroupDifference:
    """Compare the means of two groups of at least two values.

    Args:
        level: below which a p value counts as shown; the interval stays one of 95 %.

    Raises:
        NoSpreadError: the means differ and no value differs from its group's, which leaves nothing
            to judge the difference by. A few test rows often give every seed the same accuracy.
    """
    difference = statistics.fmean(second) - statistics.fmean(first)
    variances = statistics.variance(first), statistics.variance(second)
    errors = variances[0] / len(first), variances[1] / len(second)
    error = math.sqrt(sum(errors))
    if error == 0:
        if difference != 0:
            raise NoSpreadError
        return GroupDifference(0.0, 0.0, 0.0, 1.0, 0)
    freedom = sum(errors) ** 2 / (
        errors[0] ** 2 / (len(first) - 1) + errors[1] ** 2 / (len(second) - 1)
    )
    from scipy.special import stdtr

    p_value = float(2 * stdtr(freedom, -abs(difference) / error))
    half = _t_quantile(freedom, CONFIDENCE) * error
    more: int | None = 0
    if p_value >= level:
        seeds = _count_needed_seeds(difference, variances, level)
        more = None if seeds is None else max(1, seeds - min(len(first), len(second)))
    return GroupDifference(difference, difference - half, difference + half, p_value, more)


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """P values that keep the chance of any false finding at their level (Holm, 1979)."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def _count_needed_seeds(
    difference: float, variances: tuple[float, float], level: float
) -> int | None:
    """The smallest size of both groups at which a t test finds the difference in 80 % of cases."""
    if difference == 0 or _compute_power(_MAX_SEEDS, difference, variances, level) < POWER:
        return None
    low, high = 2, _MAX_SEEDS
    while low < high:
        middle = (low + high) // 2
        if _compute_power(middle, difference, variances, level) >= POWER:
            high = middle
        else:
            low = middle + 1
    return low


def _compute_power(
    size: int, difference: float, variances: tuple[float, float], level: float
) -> float:
    """The chance that a two-sided test of two groups of `size` values finds the difference."""
    from scipy.special import nctdtr

    total = sum(variances)
    freedom = (size - 1) * total**2 / (variances[0] ** 2 + variances[1] ** 2)
    shift = abs(difference) / math.sqrt(total / size)
    quantile = _t_quantile(freedom, 1 - level)
    # of the wrong sign; far out in this tail scipy's function is nan, and the chance below 1e-8
    wrong_sign = nctdtr(freedom, shift, -quantile) if shift < 4 else 0.0
    return float(1 - nctdtr(freedom, shift, quantile) + wrong_sign)


def _t_quantile(freedom: float, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))
