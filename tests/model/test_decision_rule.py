"""Temperature and thresholds of a model: what they do to its answers, and how they are kept."""

import json
from pathlib import Path

import pytest
import torch

from src.core.user_errors import UserError
from src.model.decision_rule import DECISION_NAME, DecisionRule


def test_a_temperature_makes_probabilities_less_sure_and_keeps_their_order():
    logits = torch.tensor([[2.0, 0.0]])
    tempered = DecisionRule(temperature=2.0).apply_temperature(logits).softmax(1)
    # 1 / (1 + e^-1)
    torch.testing.assert_close(tempered, torch.tensor([[0.7310586, 0.2689414]]))
    assert DecisionRule().apply_temperature(logits) is logits


def test_the_second_of_two_labels_is_chosen_above_its_threshold():
    rows = torch.tensor([[0.8, 0.2], [0.71, 0.29], [0.69, 0.31], [0.4, 0.6]])
    assert DecisionRule().choose_label(rows).tolist() == [0, 0, 0, 1]
    assert DecisionRule(thresholds=(0.7, 0.3)).choose_label(rows).tolist() == [0, 0, 1, 1]


def test_of_many_labels_those_above_their_own_thresholds_are_chosen():
    rows = torch.tensor([[0.6, 0.2], [0.4, 0.05]])
    assert DecisionRule().choose_labels(rows).tolist() == [[True, False], [False, False]]
    rule = DecisionRule(thresholds=(0.7, 0.1))
    assert rule.choose_labels(rows).tolist() == [[False, True], [False, False]]


def test_a_rule_is_kept_in_the_model_folder_and_said_in_one_line(tmp_path: Path):
    assert DecisionRule.read(tmp_path, 2) == DecisionRule()
    assert DecisionRule().describe(["no", "yes"]) is None
    rule = DecisionRule(temperature=1.5, thresholds=(0.75, 0.25), aim="f1")
    rule.write(tmp_path)
    assert json.loads((tmp_path / DECISION_NAME).read_text()) == {
        "temperature": 1.5,
        "thresholds": [0.75, 0.25],
        "aim": "f1",
        "fitted_on": "validation",
    }
    assert DecisionRule.read(tmp_path, 2) == rule
    assert rule.describe(["no", "yes"]) == (
        "probabilities at temperature 1.5; thresholds for f1: no 0.75, yes 0.25 "
        "(fitted on validation)"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds no decision rule"),
        ('{"temperature": "warm", "thresholds": null, "aim": "", "fitted_on": ""}', "holds no"),
        ('{"temperature": 0, "thresholds": null, "aim": "", "fitted_on": ""}', "above 0"),
        ('{"temperature": 1, "thresholds": [0.5], "aim": "f1", "fitted_on": ""}', "1 thresholds"),
    ],
)
def test_a_broken_rule_is_refused(tmp_path: Path, content: str, message: str):
    (tmp_path / DECISION_NAME).write_text(content)
    with pytest.raises(UserError, match=message):
        DecisionRule.read(tmp_path, 2)
