"""Rates of groups and their gaps, against published and hand-computed values."""

import numpy as np
import pytest

from src.evaluation.group_audit import (
    compare_templates,
    find_difference_interval,
    find_largest_gap,
    measure_rates,
)


def test_the_interval_of_a_difference_is_the_published_one() -> None:
    """Newcombe 1998, table II, method 10: 56 of 70 against 48 of 80, 9 of 10 against 3 of 10."""
    assert find_difference_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert find_difference_interval(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=1e-4)
    assert find_difference_interval(10, 10, 0, 20) == pytest.approx((0.6791, 1.0), abs=1e-4)


def test_rates_are_those_of_the_rows_that_count() -> None:
    groups = ["a"] * 20 + ["b"] * 20 + ["c"] * 3
    hits = np.array([True] * 15 + [False] * 5 + [True] * 5 + [False] * 15 + [True] * 3)
    rates = measure_rates(groups, hits, np.ones(43, dtype=bool))
    assert [(rate.group, rate.hits, rate.rows) for rate in rates] == [
        ("c", 3, 3),
        ("a", 15, 20),
        ("b", 5, 20),
    ]
    gap = find_largest_gap("share", rates)
    assert gap is not None
    # three rows are too few to be the highest
    assert (gap.highest.group, gap.lowest.group, gap.difference) == ("a", "b", 0.5)
    # chi-squared of [[15, 5], [5, 15]] is 40 * (15 * 15 - 5 * 5)^2 / 20^4 = 10, one degree
    assert gap.p_value == pytest.approx(0.0015654, abs=1e-6)
    only_first = measure_rates(groups, hits, np.arange(43) < 20)
    assert {rate.group: rate.rows for rate in only_first} == {"a": 20, "b": 0, "c": 0}
    assert {rate.share for rate in only_first} == {0.75, None}
    assert find_largest_gap("share", only_first) is None


def test_groups_that_are_all_alike_have_no_p_value() -> None:
    rates = measure_rates(["a"] * 12 + ["b"] * 12, np.ones(24, bool), np.ones(24, bool))
    gap = find_largest_gap("share", rates)
    assert gap is not None and gap.difference == 0 and gap.p_value is None


def test_templates_in_which_the_group_alone_changes() -> None:
    found = compare_templates(
        ["1", "1", "2", "2", "2", "3"],
        ["women", "men", "women", "men", "men", "men"],
        ["bad", "good", "bad", "bad", "good", "bad"],
        [0.9, 0.3, 0.7, 0.6, 0.4, 0.8],
    )
    assert (found.templates, found.flipped) == (2, 1)
    assert found.mean_spread == pytest.approx((0.6 + 0.2) / 2)
    assert found.largest == ("1", pytest.approx(0.6), "women", "men")
    alone = compare_templates(["1"], ["men"], ["bad"], [0.8])
    assert (alone.templates, alone.interval, alone.largest) == (0, None, None)
