"""Metrics of tagged words, exact over all batches and ranks: counts are added up and divided once.

Shape legend: S words of several texts and the end of each (`src/core/entities.py`).
"""

from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from src.core.entities import find_entities, find_right_entities
from src.core.entity_tags import END_OF_TEXT


class EntityScore(Metric):
    """Precision, recall or F1 of entities, all types together (the field's micro average).

    As in conlleval, precision is 0 where nothing is predicted. Where there is no entity to be
    found, nothing is defined but a precision of 0.
    """

    full_state_update = False
    right: Tensor
    predicted: Tensor
    true: Tensor

    def __init__(self, kind: Literal["precision", "recall", "f1"]) -> None:
        super().__init__()
        self.kind = kind
        # of what `derive_metrics` of the objective leaves out
        self.undefined_reason = "the tags are about no entities"
        for name in ("right", "predicted", "true"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, targets: Tensor) -> None:
        """Take in predicted and true tags [S]; predictions at the ends of texts do not count."""
        found = find_entities(predicted.masked_fill(targets == END_OF_TEXT, END_OF_TEXT))
        true = find_entities(targets)
        self.right += find_right_entities(found, true).sum()
        self.predicted += len(found.begins)
        self.true += len(true.begins)

    def compute(self) -> Tensor:
        right, predicted, true = (float(count) for count in (self.right, self.predicted, self.true))
        if not true and (self.kind != "precision" or not predicted):
            self.undefined_reason = "there is no entity in it"
            return torch.tensor(float("nan"))
        denominator = {"precision": predicted, "recall": true, "f1": (predicted + true) / 2}
        return torch.tensor(right / max(denominator[self.kind], 1.0), dtype=torch.float64)


class TagAccuracy(Metric):
    """The share of words with the right tag; a word without a token counts as O."""

    full_state_update = False
    right: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("right", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, targets: Tensor) -> None:
        """Take in predicted and true tags [S]."""
        is_word = targets != END_OF_TEXT
        self.right += ((predicted == targets) & is_word).sum()
        self.count += is_word.sum()

    def compute(self) -> Tensor:
        return torch.tensor(float(self.right) / max(1.0, float(self.count)), dtype=torch.float64)
