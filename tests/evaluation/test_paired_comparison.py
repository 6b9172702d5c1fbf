"""Two models on the same rows: scores, paired bootstrap intervals, McNemar's exact test."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from src.evaluation.intervals import find_share_interval
from src.evaluation.paired_comparison import (
    Answers,
    bootstrap_difference,
    bootstrap_score,
    compute_mcnemar,
    find_unpaired_rows,
    list_scores,
    mark_right,
)

RANDOM = np.random.default_rng(3)


def answer(labels: Any, predicted: Any, task: str = "classification", names: Any = "ab") -> Answers:
    rows = list(range(len(labels)))
    return Answers(rows, list(labels), list(predicted), tuple(names), task)


def test_mcnemar_is_that_of_statsmodels_and_of_the_hand() -> None:
    mcnemar = pytest.importorskip("statsmodels.stats.contingency_tables").mcnemar
    first = np.array([True] * 10 + [True] * 8 + [False] * 2 + [False] * 5)
    second = np.array([True] * 10 + [False] * 8 + [True] * 2 + [False] * 5)
    found = compute_mcnemar(first, second)
    # 2 * (C(10, 0) + C(10, 1) + C(10, 2)) / 2 ** 10 = 2 * 56 / 1024
    assert found == (8, 2, pytest.approx(112 / 1024))
    assert found.p_value == pytest.approx(mcnemar([[10, 8], [2, 5]], exact=True).pvalue)
    assert compute_mcnemar(first, first) == (0, 0, 1.0)


def test_an_accuracy_has_the_interval_of_its_binomial() -> None:
    made = answer("a" * 400, "a" * 320 + "b" * 80)
    found = bootstrap_score(made, "accuracy")
    assert found.value == 0.8
    # sqrt(0.8 * 0.2 / 400) = 0.02
    assert (found.low, found.high) == pytest.approx(
        (0.8 - 1.96 * 0.02, 0.8 + 1.96 * 0.02), abs=2e-3
    )
    assert bootstrap_score(made, "accuracy") == found
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    wanted = proportion.proportion_confint(320, 400, method="wilson")
    assert find_share_interval(320, 400) == pytest.approx(wanted)


def test_a_difference_is_paired() -> None:
    # wrong on the same rows but for 10 of 400: the difference has a deviation of sqrt(10) / 400,
    # that of two unpaired accuracies would be 0.028
    first = answer("a" * 400, "a" * 320 + "b" * 80)
    second = answer("a" * 400, "a" * 330 + "b" * 70)
    found = bootstrap_difference(first, second, "accuracy")
    assert (found.value, found.rows) == (pytest.approx(0.025), 400)
    half = 1.96 * np.sqrt(10 - 10**2 / 400) / 400
    assert (found.low, found.high) == pytest.approx((0.025 - half, 0.025 + half), abs=1.5e-3)
    # of exchanging the answers of the 10 rows, as McNemar's exact test
    assert found.p_value == pytest.approx(2**-9)
    same = bootstrap_difference(first, first, "accuracy")
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_values_are_compared_by_error_and_correlation() -> None:
    truth = RANDOM.normal(size=500)
    first = answer(truth, truth + RANDOM.normal(size=500), "regression", "")
    second = answer(truth, truth + 0.5 * RANDOM.normal(size=500), "regression", "")
    errors = [np.abs(np.array(one.predicted) - truth) for one in (first, second)]
    found = bootstrap_difference(first, second, "mae")
    deviation = (errors[1] - errors[0]).std() / np.sqrt(500)
    assert found.value == pytest.approx(errors[1].mean() - errors[0].mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.05)
    found = bootstrap_score(second, "pearson")
    r = np.corrcoef(truth, second.predicted)[0, 1]
    assert found.value == pytest.approx(r)
    # Fisher's interval of a correlation
    wanted = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / np.sqrt(497))
    assert (found.low, found.high) == pytest.approx(tuple(wanted), abs=0.01)
    squares = np.sqrt(np.mean(errors[1] ** 2))
    assert bootstrap_score(second, "rmse").value == pytest.approx(squares)


def test_macro_f1_is_that_of_scikit_learn() -> None:
    labels, predicted = (RANDOM.choice(list("abc"), 200) for _ in range(2))
    found = bootstrap_score(answer(labels, predicted, names="abcd"), "f1_macro")
    assert found.value == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found.low < found.value < found.high
    labels = [["x", "x, y", "", "y"][place] for place in RANDOM.integers(0, 4, 200)]
    predicted = [["x", "x, y", "", "y"][place] for place in RANDOM.integers(0, 4, 200)]
    several = answer(labels, predicted, "multi_label", "xy")
    tables = [[[name in cell for name in "xy"] for cell in cells] for cells in (labels, predicted)]
    found = bootstrap_score(several, "f1_macro")
    assert found.value == pytest.approx(f1_score(*map(np.array, tables), average="macro"))
    assert bootstrap_score(several, "subset_accuracy").value == mark_right(several).mean()


def test_entities_and_tags_are_scored_over_all_texts() -> None:
    labels = ["PER[0:2] LOC[3:4]", "", "PER[0:1]"]
    predicted = ["PER[0:2]", "LOC[1:2]", "PER[0:1]"]
    made = answer(labels, predicted, "token_classification")
    assert list_scores(made) == ["f1"]
    # 2 of 3 predicted and of 3 true ones
    assert bootstrap_score(made, "f1").value == pytest.approx(2 / 3)
    made = answer(["N V", "N"], ["N N", "N"], "token_classification")
    assert list_scores(made) == ["accuracy"]
    assert bootstrap_score(made, "accuracy").value == pytest.approx(2 / 3)


def test_many_kinds_of_rows_are_drawn_in_parts() -> None:
    # 10,000 resamples of 1,000 rows are more than what is drawn at a time
    truth = RANDOM.normal(size=1000)
    found = bootstrap_score(answer(truth, np.zeros(1000), "regression", ""), "mae")
    deviation = np.abs(truth).std() / np.sqrt(1000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.05)


def test_what_cannot_be_scored_is_not() -> None:
    assert list_scores(answer(["x, y"], ["x"], "multi_label", ["x, y", "z"])) == ["subset_accuracy"]
    with pytest.raises(ValueError, match="loss cannot be computed"):
        bootstrap_score(answer("a", "a"), "loss")


def test_rows_are_the_same_or_it_is_said_why_not() -> None:
    assert find_unpaired_rows([1, 2], [1, 2]) is None
    assert find_unpaired_rows([1, 2], [2, 1]) == "the same rows are in another order"
    assert find_unpaired_rows([1, 2, 3], [1, 2]) == (
        "1 of 3 rows of the first are not among the second's, 0 of 2 the other way round"
    )


def test_few_rows_show_nothing() -> None:
    for rows in (1, 3):
        first, second = answer("a" * rows, "b" * rows), answer("a" * rows, "a" * rows)
        found = bootstrap_difference(first, second, "f1_macro")
        assert found.p_value == pytest.approx(2.0 ** (1 - rows))
