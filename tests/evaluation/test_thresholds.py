"""Thresholds that are chosen for an aim, against counting by hand and all thresholds there are."""

import numpy as np
import pytest
import torch

from src.core.user_errors import UserError
from src.evaluation.report_config import ReportConfig, parse_aim
from src.evaluation.thresholds import choose_threshold, choose_thresholds
from src.model.decision_rule import DecisionRule

SCORES = torch.tensor([0.9, 0.8, 0.7, 0.4, 0.3, 0.2])
TRUTH = torch.tensor([True, False, True, True, False, False])


@pytest.mark.parametrize(
    ("aim", "threshold"),
    [
        # after 4 rows: all 3 of 3 found, 3 of 4 right
        ("f1", 0.35),
        ("f2", 0.35),
        # after 1 row: (1 + 1/4) * 1 / (3 / 4 + 1) = 0.71, after 4: 1.25 * 3 / (3 / 4 + 4) = 0.79
        ("f0.5", 0.35),
        # after 4 rows: (1 + 2/3) / 2
        ("balanced_accuracy", 0.35),
        ("precision_0.9", 0.85),
        ("precision_0.7", 0.35),
    ],
)
def test_by_hand(aim: str, threshold: float):
    assert choose_threshold(SCORES, TRUTH, aim) == pytest.approx(threshold)


def test_f1_is_the_best_of_all_thresholds_of_scikit_learn():
    from sklearn.metrics import precision_recall_curve

    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(300, generator=generator)
    truth = torch.rand(300, generator=generator) < scores * 0.5
    precision, recall, _ = precision_recall_curve(truth.numpy(), scores.numpy())
    best = np.nanmax(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    chosen = choose_threshold(scores, truth, "f1")
    said = scores > chosen
    f1 = 2 * (said & truth).sum() / (said.sum() + truth.sum())
    assert f1.item() == pytest.approx(best)


def test_an_aim_out_of_reach_leaves_the_default():
    worst_first = choose_threshold(SCORES, torch.tensor([False] * 5 + [True]), "precision_0.9")
    assert worst_first is None
    assert choose_threshold(SCORES, torch.zeros(6, dtype=torch.bool), "f1") is None
    assert choose_threshold(torch.full((6,), 0.5), TRUTH, "f1") is None
    targets = torch.stack([TRUTH, torch.zeros(6, dtype=torch.bool)], 1).long()
    choice = choose_thresholds(torch.stack([SCORES, SCORES], 1), targets, "f1")
    assert choice.thresholds == pytest.approx((0.35, 0.5))
    assert choice.unreached == (1,)


def test_of_two_labels_the_second_is_judged():
    probabilities = torch.stack([1 - SCORES, SCORES], 1)
    choice = choose_thresholds(probabilities, TRUTH.long(), "f1")
    assert choice.thresholds == pytest.approx((0.65, 0.35))
    said = DecisionRule(thresholds=choice.thresholds, aim="f1").choose_label(probabilities)
    assert said.tolist() == [1, 1, 1, 1, 0, 0]


def test_of_three_labels_the_rare_one_gets_a_lower_threshold():
    generator = torch.Generator().manual_seed(1)
    truths = torch.multinomial(torch.tensor([0.6, 0.35, 0.05]), 600, True, generator=generator)
    evidence = torch.nn.functional.one_hot(truths, 3) * 1.5
    noise = torch.randn(600, 3, generator=generator)
    # a model that has learnt that the last label is rare
    probabilities = (evidence + noise + torch.tensor([0.0, -0.2, -2.0])).softmax(1)
    choice = choose_thresholds(probabilities, truths, "balanced_accuracy")
    rule = DecisionRule(thresholds=choice.thresholds, aim="balanced_accuracy")

    def mean_recall(said: torch.Tensor) -> float:
        recalls = [(said[truths == label] == label).float().mean() for label in range(3)]
        return float(sum(recalls) / 3)

    assert choice.thresholds[2] < choice.thresholds[0]
    plain = mean_recall(probabilities.argmax(1))
    assert mean_recall(rule.choose_label(probabilities)) > plain + 0.05


def test_aims_are_read_and_others_refused():
    assert parse_aim("f0.5") == ("f", 0.5)
    assert parse_aim("precision_0.9") == ("precision", 0.9)
    for text in ("f", "f0", "accuracy", "precision_2", "precision", "f1_macro"):
        with pytest.raises(UserError, match="balanced_accuracy or precision_0.9"):
            ReportConfig(threshold_aim=text)
