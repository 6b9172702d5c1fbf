"""How predictions and targets go together, in double precision: in single precision, a few thousand
rows with one outlier have no variance left.

Shape legend: N rows.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class Correlation(Metric):
    """Pearson's or Spearman's correlation of all values [N] that it is updated with.

    It is NaN where it is not defined; `undefined_reason` then says why.

    Args:
        read: makes values [N] of the outputs that it is updated with; None: they are values.
    """

    is_differentiable = False
    full_state_update = False
    predictions: list[Tensor]
    targets: list[Tensor]

    def __init__(
        self,
        kind: Literal["pearson", "spearman"],
        read: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.read = read
        self.undefined_reason: str | None = None
        self.add_state("predictions", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        values = predictions if self.read is None else self.read(predictions)
        self.predictions.append(values.detach())
        self.targets.append(targets.detach())

    def compute(self) -> Tensor:
        predictions, targets = (
            # not every device has double precision
            dim_zero_cat(values).cpu().double() if len(values) else torch.zeros(0)
            for values in (self.predictions, self.targets)
        )
        self.undefined_reason = explain_undefined(predictions, targets)
        if self.undefined_reason is not None:
            return torch.tensor(torch.nan, dtype=torch.float64)
        return (compute_pearson if self.kind == "pearson" else compute_spearman)(
            predictions, targets
        )


def explain_undefined(predictions: Tensor, targets: Tensor) -> str | None:
    """Why values [N] have no correlation; None if they have one."""
    if len(targets) < 2:
        return f"rows: {len(targets)}"
    for name, values in (("targets", targets), ("predictions", predictions)):
        if not values.isfinite().all():
            return f"not all {name} are numbers"
        if values.min() == values.max():
            return f"all {name} are equal"
    return None


def compute_pearson(predictions: Tensor, targets: Tensor) -> Tensor:
    """The linear correlation of values [N], from -1 to 1."""
    return torch.corrcoef(torch.stack([predictions.double(), targets.double()]))[0, 1]


def compute_spearman(predictions: Tensor, targets: Tensor) -> Tensor:
    """The correlation of the ranks of values [N], from -1 to 1.

    Not torchmetrics' own: it adds a constant to the denominator, so that a perfect order of few
    rows falls short of 1.
    """
    return compute_pearson(rank_values(predictions), rank_values(targets))


def rank_values(values: Tensor) -> Tensor:
    """Ranks from 1; equal values share the mean of their ranks: [7 5 7] -> [2.5 1 2.5]."""
    _, indices, counts = torch.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum(0).double() - (counts - 1) / 2)[indices]
