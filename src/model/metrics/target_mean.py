"""Means over the targets of one kind, where a batch asks for tokens and judges pairs.

Shape legend: K masked tokens, B pairs.
"""

from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric


class TargetMean(Metric):
    """The mean loss, or the share that is right, of masked tokens or of pairs; NaN if there are
    none.

    Args:
        of: which targets: tokens are ids from 0, and pairs are -1 - label.
        what: the mean of their losses, or the share of right predictions.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, of: Literal["tokens", "pairs"], what: Literal["loss", "accuracy"]) -> None:
        super().__init__()
        self.of, self.what = of, what
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in [K + B, 2], the predictions in the first column and the losses in the second, and
        the targets [K + B].
        """
        values = outputs[:, 1] if self.what == "loss" else outputs[:, 0] == targets
        is_wanted = (targets < 0) == (self.of == "pairs")
        self.total += torch.where(is_wanted, values, 0).sum(dtype=self.total.dtype)
        self.count += is_wanted.sum()

    def compute(self) -> Tensor:
        return self.total / self.count
