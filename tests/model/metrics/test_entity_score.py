"""Scores of tags, by hand: O 0, B-LOC 1, I-LOC 2, B-PER 3, I-PER 4; -1 ends a text."""

import math

import torch

from src.model.metrics.entity_score import EntityScore, TagAccuracy

# true: LOC[0:2] PER[3:4] | PER[0:2]; predicted: LOC[0:2] LOC[3:4] | PER[0:1] PER[1:2] and an O
TRUE = [[1, 2, 0, 3, -1], [3, 4, 0, -1]]
PREDICTED = [[1, 2, 0, 1, 0], [3, 3, 0, 0]]


def _score(kind: str, true: list[list[int]], predicted: list[list[int]]) -> float:
    metric = EntityScore(kind)  # type: ignore[arg-type]
    metric.set_dtype(torch.float64)
    for targets, tags in zip(true, predicted, strict=True):
        metric.update(torch.tensor(tags), torch.tensor(targets))
    return float(metric.compute())


def test_counts_are_added_up_over_batches() -> None:
    """1 of 3 entities is found, 1 of 4 predicted ones is right."""
    assert _score("precision", TRUE, PREDICTED) == 1 / 4
    assert _score("recall", TRUE, PREDICTED) == 1 / 3
    assert _score("f1", TRUE, PREDICTED) == 2 * 1 / (4 + 3)
    # in one batch the same
    joined = [[tag for tags in texts for tag in tags] for texts in (TRUE, PREDICTED)]
    assert _score("f1", joined[:1], joined[1:]) == 2 / 7


def test_what_no_tag_is_about_has_a_reason() -> None:
    assert EntityScore("f1").undefined_reason == "the tags are about no entities"


def test_an_entity_may_begin_with_an_inside_tag() -> None:
    assert _score("f1", [[1, 2, 0, -1]], [[2, 2, 0, 0]]) == 1.0


def test_nothing_found_and_nothing_to_find() -> None:
    assert _score("precision", [[1, -1]], [[0, 0]]) == 0.0
    assert _score("f1", [[1, -1]], [[0, 0]]) == 0.0
    assert _score("precision", [[0, -1]], [[1, 0]]) == 0.0
    metric = EntityScore("f1")
    metric.update(torch.tensor([1, 0]), torch.tensor([0, -1]))
    assert math.isnan(float(metric.compute()))
    assert metric.undefined_reason == "there is no entity in it"


def test_accuracy_counts_words() -> None:
    metric = TagAccuracy()
    for targets, tags in zip(TRUE, PREDICTED, strict=True):
        metric.update(torch.tensor(tags), torch.tensor(targets))
    # 3 of 4 words of the first text, 2 of 3 of the second
    assert float(metric.compute()) == 5 / 7
