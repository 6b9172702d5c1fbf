"""Metrics of the second of two labels, from scores of both, and of decisions by one number.

Shape legend: B texts, N texts of all batches.
"""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryF1Score
from torchmetrics.utilities import dim_zero_cat

from src.model.metrics.correlation import rank_values


class PositiveF1(BinaryF1Score):
    """F1 of the second label, from scores [B, 2] and class indices [B]."""

    def update(self, scores: Tensor, targets: Tensor) -> None:
        super().update(scores.argmax(-1), targets)


class RankingArea(Metric):
    """The area under the ROC curve: the probability that a text of the second label has a higher
    score for it than one of the first, where equal scores count one half.

    It is NaN where all texts have the same label; `undefined_reason` then says so.
    """

    is_differentiable = False
    full_state_update = False
    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.undefined_reason: str | None = None
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, targets: Tensor) -> None:
        """Take in scores [B, 2] and class indices [B]."""
        # no probability, which is 1 for all scores that are large
        self.scores.append((scores[:, 1] - scores[:, 0]).detach())
        self.targets.append(targets.detach())

    def compute(self) -> Tensor:
        if not len(self.targets):
            return torch.tensor(torch.nan)
        # not every device has double precision
        scores, targets = (dim_zero_cat(values).cpu() for values in (self.scores, self.targets))
        positives = int(targets.sum())
        negatives = len(targets) - positives
        self.undefined_reason = None if positives and negatives else "all targets are equal"
        if self.undefined_reason is not None:
            return torch.tensor(torch.nan)
        # the ranks of the positives, less what they would be if these came first
        above = rank_values(scores)[targets > 0].sum() - positives * (positives + 1) / 2
        return above / (positives * negatives)


class PositiveFraction(Metric):
    """The share of targets [N] that are 1, whatever the outputs are."""

    full_state_update = False
    positives: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("positives", "count"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.positives += targets.sum()
        self.count += len(targets)

    def compute(self) -> Tensor:
        return self.positives / self.count
