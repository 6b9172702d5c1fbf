import pytest
import torch

from src.evaluation.report import build_report

NAMES = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER", "B-ORG", "I-ORG")
ROWS = torch.tensor([3, 3, 3, 3, 3, 8, 8, 8, 8])
TRUE = torch.tensor([1, 2, 0, 3, -1, 3, 4, 0, -1])
FOUND = torch.tensor([1, 2, 0, 1, 0, 3, 3, 0, 0])


def test_entities_by_type() -> None:
    report = build_report("token_classification", (ROWS, TRUE, FOUND), NAMES)
    assert report is not None
    assert report.tables["per_class"] == {
        "label": ["LOC", "PER", "ORG"],
        "precision": [1 / 2, 0.0, None],
        "recall": [1.0, 0.0, None],
        "f1": [2 / 3, 0.0, None],
        "support": [1, 2, 0],
        "predicted": [2, 2, 0],
    }
    assert report.metrics == {"support": 3.0, "f1_macro": pytest.approx(1 / 3)}
    assert report.tables["predictions"] == {
        "row": [3, 8],
        "label": ["LOC[0:2] PER[3:4]", "PER[0:2]"],
        "predicted": ["LOC[0:2] LOC[3:4]", "PER[0:1] PER[1:2]"],
    }


def test_parts_of_speech() -> None:
    true, found = torch.tensor([0, 1, 0, -1]), torch.tensor([0, 0, 0, 0])
    report = build_report(
        "token_classification", (torch.tensor([5] * 4), true, found), ("NOUN", "VERB")
    )
    assert report is not None
    assert report.metrics == {"support": 3.0, "f1_macro": pytest.approx(0.4)}
    assert report.tables["per_class"]["precision"] == [2 / 3, 0.0]
    assert report.tables["predictions"] == {
        "row": [5],
        "label": ["NOUN VERB NOUN"],
        "predicted": ["NOUN NOUN NOUN"],
    }
