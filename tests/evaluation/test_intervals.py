"""Confidence intervals of what a confusion matrix counts, against those of scipy."""

import numpy as np
import pytest

from src.evaluation.intervals import (
    Interval,
    bootstrap_cells,
    find_confusion_intervals,
    find_f1_interval,
    find_mean_interval,
    find_share_interval,
)


@pytest.mark.parametrize(("count", "total"), [(0, 10), (7, 10), (190, 200), (200, 200)])
def test_the_interval_of_a_share_is_that_of_scipy(count: int, total: int):
    from scipy.stats import binomtest

    theirs = binomtest(count, total).proportion_ci(0.95, method="wilson")
    expected = (theirs.low, theirs.high)
    assert find_share_interval(count, total) == pytest.approx(expected, abs=1e-9)
    assert find_share_interval(0, 0) is None


def test_f1_has_the_interval_of_the_jaccard_index():
    low, high = find_share_interval(70, 100) or (0, 0)
    # 2 * 70 / (2 * 70 + 30) lies inside
    assert find_f1_interval(70, 30) == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    assert find_f1_interval(0, 0) is None


def test_the_mean_of_two_shares_is_surer_than_one_of_them():
    alone = find_mean_interval([(50, 100)])
    mean = find_mean_interval([(50, 100), (50, 100), (0, 0)])
    assert alone is not None
    assert mean is not None
    assert alone == pytest.approx(find_share_interval(50, 100), abs=0.001)
    # narrower by the root of 2
    narrower = (alone.high - alone.low) / (mean.high - mean.low)
    assert narrower == pytest.approx(2**0.5, rel=0.05)
    assert find_mean_interval([(0, 0)]) is None


def test_the_bootstrap_has_the_interval_that_scipy_finds_row_by_row():
    from scipy.stats import bootstrap

    matrix = np.array([[80, 20], [10, 90]])
    truths = np.repeat([0, 0, 1, 1], matrix.ravel())
    predicted = np.repeat([0, 1, 0, 1], matrix.ravel())

    def compute(truth: np.ndarray, said: np.ndarray, axis: int) -> np.ndarray:
        f1 = [
            2
            * ((truth == label) & (said == label)).sum(axis)
            / ((truth == label).sum(axis) + (said == label).sum(axis))
            for label in (0, 1)
        ]
        return sum(f1) / 2

    theirs = bootstrap(
        (truths, predicted),
        compute,
        paired=True,
        vectorized=True,
        n_resamples=2000,
        method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval
    ours = find_confusion_intervals(matrix).whole["f1_macro"]
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_what_never_varies_or_is_not_defined_has_no_interval():
    found = find_confusion_intervals(np.array([[10, 0], [0, 10]]))
    assert found.whole["f1_macro"] is None
    assert found.whole["accuracy"] == find_share_interval(20, 20)
    one_class = find_confusion_intervals(np.array([[10, 0], [0, 0]]))
    assert one_class.whole["matthews"] is None
    assert one_class.by_class["recall"][1] is None
    assert (
        bootstrap_cells(np.zeros((2, 2), int), lambda tables: tables.sum(-1), seed=0) == [None] * 2
    )


def test_intervals_are_the_same_each_time_and_narrow_with_the_rows():
    matrix = np.array([[8, 2], [1, 9]])
    assert find_confusion_intervals(matrix) == find_confusion_intervals(matrix)
    few, many = (find_confusion_intervals(matrix * times).whole for times in (1, 1000))
    for name in ("accuracy", "balanced_accuracy", "f1_macro", "matthews"):
        wide, narrow = few[name], many[name]
        assert isinstance(wide, Interval)
        assert isinstance(narrow, Interval)
        assert narrow.high - narrow.low < (wide.high - wide.low) / 10
