"""Means over the tokens that a decoder writes: all of them, or those that it cannot copy.

Shape legend: U tokens that are written.
"""

from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric


class WrittenTokens(Metric):
    """The mean loss, or the share that is right, of the tokens that are written; NaN if there are
    none.

    Args:
        of: `missing`: only those that the noised text lacks.
        what: the mean of their losses, or the share of right predictions.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, of: Literal["all", "missing"], what: Literal["loss", "accuracy"]) -> None:
        super().__init__()
        self.of, self.what = of, what
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in [U, 3], the predictions, their losses, and 1 for a missing token, else 0; and the
        targets [U].
        """
        predictions, losses, is_missing = outputs.unbind(1)
        values = losses if self.what == "loss" else (predictions == targets).to(losses)
        weights = is_missing if self.of == "missing" else torch.ones_like(is_missing)
        self.total += (values * weights).sum(dtype=self.total.dtype)
        self.count += weights.sum()

    def compute(self) -> Tensor:
        return self.total / self.count
