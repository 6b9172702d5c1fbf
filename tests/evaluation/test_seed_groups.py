"""Groups of seeds: intervals, Welch's test, the seeds that would settle it, Holm's correction."""

import math

import pytest
from scipy import stats

from src.evaluation.seed_groups import (
    NoSpreadError,
    compare_groups,
    compute_mean_interval,
    correct_holm,
)

FIRST = [0.80, 0.82, 0.81, 0.79, 0.83]


def test_a_mean_has_the_interval_of_students_t() -> None:
    # by hand: 2, 4, 6 have sd 2; t(0.975; 2) = 4.302653; 4.302653 * 2 / sqrt(3) = 4.968276
    found = compute_mean_interval([2.0, 4.0, 6.0])
    assert (found.size, found.mean, found.deviation) == (3, 4.0, 2.0)
    assert found.low == pytest.approx(4 - 4.968276, abs=1e-5)
    assert found.high == pytest.approx(4 + 4.968276, abs=1e-5)
    assert compute_mean_interval([0.5]) == (1, 0.5, None, None, None)


def test_groups_are_compared_as_scipy_compares_them() -> None:
    second = [0.83, 0.82, 0.86, 0.84]
    ours, theirs = compare_groups(FIRST, second), stats.ttest_ind(second, FIRST, equal_var=False)
    interval = theirs.confidence_interval()
    assert ours.difference == pytest.approx(0.0275)
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))
    assert ours.more_seeds == 0


def test_the_seeds_that_would_settle_it_are_those_of_statsmodels() -> None:
    power = pytest.importorskip("statsmodels.stats.power").TTestIndPower()
    for shift in (0.005, 0.01, 0.015):
        effect = shift / math.sqrt(0.00025)
        wanted = math.ceil(power.solve_power(effect, alpha=0.05, power=0.8))
        found = compare_groups(FIRST, [value + shift for value in FIRST])
        assert found.more_seeds == wanted - len(FIRST)
    stricter = power.solve_power(0.01 / math.sqrt(0.00025), alpha=0.01, power=0.8)
    found = compare_groups(FIRST, [value + 0.01 for value in FIRST], level=0.01)
    assert found.more_seeds == math.ceil(stricter) - len(FIRST)


def test_groups_without_scatter_or_difference_are_no_division_by_zero() -> None:
    assert compare_groups([0.5, 0.5], [0.5, 0.5]) == (0.0, 0.0, 0.0, 1.0, 0)
    with pytest.raises(NoSpreadError):
        compare_groups([0.5, 0.5], [0.75, 0.75])
    assert compare_groups(FIRST, FIRST).more_seeds is None
    assert compare_groups(FIRST, [value + 1e-6 for value in FIRST]).more_seeds is None


def test_holms_correction() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest").multipletests
    # by hand: 0.01 * 3; 0.03 * 2; then at least what came before
    assert correct_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    values = [0.2, 0.001, 0.04, 0.04, 0.9]
    assert correct_holm(values) == pytest.approx(list(multitest(values, method="holm")[1]))
    assert correct_holm([]) == []
