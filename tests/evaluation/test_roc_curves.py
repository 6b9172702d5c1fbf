"""Curves over all thresholds, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from src.evaluation.curves import tabulate_abstaining, trace_abstaining, trace_label


@pytest.mark.parametrize("decimals", [1, 6])
def test_a_label_is_traced_as_by_scikit_learn(decimals: int):
    generator = np.random.default_rng(1)
    # with one decimal, many rows have equal scores
    scores = generator.random(150).round(decimals)
    truth = generator.random(150) < scores
    curve = trace_label(scores, truth)
    assert curve is not None
    rate, recall, thresholds = roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, rate[1:])
    np.testing.assert_allclose(curve.recall, recall[1:])
    np.testing.assert_allclose(curve.threshold, thresholds[1:])
    precision, _, _ = precision_recall_curve(truth, scores)
    np.testing.assert_allclose(curve.precision, precision[:-1][::-1])
    assert curve.area == pytest.approx(roc_auc_score(truth, scores))
    assert curve.average_precision == pytest.approx(average_precision_score(truth, scores))


def test_many_rows_leave_few_points_and_the_same_areas():
    generator = np.random.default_rng(1)
    scores = generator.random(5000)
    truth = generator.random(5000) < scores
    curve = trace_label(scores, truth)
    assert curve is not None
    assert len(curve.recall) == 200
    assert curve.recall[-1] == curve.false_positive_rate[-1] == 1
    assert curve.area == pytest.approx(roc_auc_score(truth, scores))


def test_a_label_of_all_rows_or_none_has_no_curve():
    assert trace_label(np.array([0.2, 0.9]), np.array([True, True])) is None
    assert trace_label(np.array([0.2, 0.9]), np.array([False, False])) is None


def test_abstaining_by_hand():
    confidence = np.array([0.6, 0.9, 0.8, 0.7])
    right = np.array([False, True, True, False])
    curve = trace_abstaining(confidence, right)
    assert curve.accuracy.tolist() == [1, 1, pytest.approx(2 / 3), 0.5]
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    table = tabulate_abstaining(confidence, right)
    assert table["rows"] == [4, 3, 2, 1]
    assert table["least confidence"] == [0.6, 0.7, 0.8, 0.9]
    assert table["accuracy"] == [0.5, pytest.approx(2 / 3), 1, 1]
