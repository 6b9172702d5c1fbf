"""Metrics of labels in an order, from scores whose softmax is their probabilities.

Shape legend: B texts, C labels.
"""

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy, MulticlassCohenKappa
from torchmetrics.regression import MeanAbsoluteError

from src.model.head_outputs import choose_ranks


def compute_expected_ranks(scores: Tensor) -> Tensor:
    """The mean of the ranks [B], from 0, under the probabilities of scores [B, C]."""
    probabilities = scores.detach().float().softmax(-1)
    ranks = torch.arange(scores.shape[1], device=scores.device)
    # no matrix product, which may be rounded to fewer digits
    return (probabilities * ranks).sum(-1)


class RankAccuracy(MulticlassAccuracy):
    """The share of texts whose predicted rank is right."""

    def update(self, scores: Tensor, targets: Tensor) -> None:
        super().update(choose_ranks(scores.softmax(-1)), targets)


class RankError(MeanAbsoluteError):
    """The mean distance of the predicted rank from the right one."""

    def update(self, scores: Tensor, targets: Tensor) -> None:
        super().update(choose_ranks(scores.softmax(-1)), targets)


class RankKappa(MulticlassCohenKappa):
    """The agreement of predicted and right ranks beyond chance (Cohen, 1968)."""

    def update(self, scores: Tensor, targets: Tensor) -> None:
        super().update(choose_ranks(scores.softmax(-1)), targets)
