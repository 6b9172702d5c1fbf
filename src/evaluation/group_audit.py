"""Whether a model treats groups of rows alike: how often it gives a label to each, how often it
errs there, and what changes when only the group in a text changes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from src.evaluation.intervals import Interval, find_share_interval

# Groups with fewer rows are told, and take no part in the search for the largest gap.
LEAST_ROWS = 10


class GroupRate(NamedTuple):
    """A share of the rows of one group, with its 95 % interval (Wilson)."""

    group: str
    hits: int
    rows: int
    interval: Interval | None

    @property
    def share(self) -> float | None:
        return self.hits / self.rows if self.rows else None


class Gap(NamedTuple):
    """The largest difference of a rate between two groups.

    Attributes:
        measure: the name of the rate.
        highest, lowest: the two groups.
        difference: of their shares.
        interval: 95 % of that difference, as if the two had been chosen beforehand (Newcombe 1998,
            method 10).
        p_value: of the chi-squared test that all groups have the same rate; None where it is not
            defined.
    """

    measure: str
    highest: GroupRate
    lowest: GroupRate
    difference: float
    interval: Interval
    p_value: float | None


class TemplateChange(NamedTuple):
    """What becomes of the answer to a template when another group is put into it.

    Attributes:
        templates: those that stand with at least two groups.
        flipped: those whose answer is not the same for all groups.
        interval: 95 % of the share of flipped ones.
        mean_spread: mean over templates of the largest less the smallest probability.
        largest: the template with the largest spread, that spread, and the groups at both ends.
    """

    templates: int
    flipped: int
    interval: Interval | None
    mean_spread: float
    largest: tuple[str, float, str, str] | None


def measure_rates(
    groups: Sequence[str], counted: NDArray[np.bool_], among: NDArray[np.bool_]
) -> list[GroupRate]:
    """For each group the share of its rows in `among` that are in `counted` too, the largest share
    first.
    """
    names = np.asarray(groups, dtype=object)
    rates = []
    for group in sorted(set(groups)):
        chosen = among & (names == group)
        count, rows = int((chosen & counted).sum()), int(chosen.sum())
        rates.append(GroupRate(group, count, rows, find_share_interval(count, rows)))
    return sorted(rates, key=lambda rate: (-1.0 if rate.share is None else -rate.share, rate.group))


def find_largest_gap(measure: str, rates: Sequence[GroupRate]) -> Gap | None:
    """The largest difference between groups with enough rows; None of fewer than two of these."""
    known = [rate for rate in rates if rate.rows >= LEAST_ROWS]
    if len(known) < 2:
        return None
    highest = max(known, key=lambda rate: rate.hits / rate.rows)
    lowest = min(known, key=lambda rate: rate.hits / rate.rows)
    table = np.array([[rate.hits, rate.rows - rate.hits] for rate in known])
    is_defined = bool((table.sum(0) > 0).all())
    return Gap(
        measure,
        highest,
        lowest,
        highest.hits / highest.rows - lowest.hits / lowest.rows,
        find_difference_interval(highest.hits, highest.rows, lowest.hits, lowest.rows),
        float(chi2_contingency(table, correction=False)[1]) if is_defined else None,
    )


def find_difference_interval(
    first_count: int, first_rows: int, second_count: int, second_rows: int
) -> Interval:
    """95 % interval of the difference of two independent shares (Newcombe 1998, method 10)."""
    first, second = first_count / first_rows, second_count / second_rows
    one = find_share_interval(first_count, first_rows)
    other = find_share_interval(second_count, second_rows)
    assert one is not None and other is not None
    difference = first - second
    return Interval(
        difference - float(np.hypot(first - one.low, other.high - second)),
        difference + float(np.hypot(one.high - first, second - other.low)),
    )


def compare_templates(
    templates: Sequence[str],
    groups: Sequence[str],
    predicted: Sequence[str],
    probabilities: Sequence[float],
) -> TemplateChange:
    """How far answers change where texts differ in the group alone.

    Rows of the same template and group count by their mean probability and their first answer.

    Args:
        templates: which template each row comes from.
        groups: the group that was put into it.
        predicted: the answer for it.
        probabilities: of one label, the same for all rows.
    """
    by_template: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for template, group, answer, value in zip(
        templates, groups, predicted, probabilities, strict=True
    ):
        by_template.setdefault(template, {}).setdefault(group, []).append((answer, value))
    spreads, flipped = [], 0
    for template, rows in by_template.items():
        if len(rows) < 2:
            continue
        means = {
            group: float(np.mean([value for _, value in given])) for group, given in rows.items()
        }
        flipped += len({given[0][0] for given in rows.values()}) > 1
        high = max(means, key=lambda group: means[group])
        low = min(means, key=lambda group: means[group])
        spreads.append((template, means[high] - means[low], high, low))
    return TemplateChange(
        len(spreads),
        flipped,
        find_share_interval(flipped, len(spreads)),
        float(np.mean([spread for _, spread, _, _ in spreads])) if spreads else 0.0,
        max(spreads, key=lambda spread: spread[1], default=None),
    )
