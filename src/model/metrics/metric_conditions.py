"""What rows must hold for some metrics of torchmetrics to mean something: without it these give a 0
that reads like a result.

Shape legend: N rows, C classes.
"""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MultilabelAUROC,
    MultilabelAveragePrecision,
)
from torchmetrics.regression import (
    ExplainedVariance,
    R2Score,
    RelativeSquaredError,
    SpearmanCorrCoef,
)

_NEEDS_DIFFERENT_TARGETS = (ExplainedVariance, R2Score, RelativeSquaredError, SpearmanCorrCoef)
_RANKS_ROWS = (BinaryAUROC, MulticlassAUROC, MultilabelAUROC)
_NEEDS_POSITIVES = (
    *_RANKS_ROWS,
    BinaryAveragePrecision,
    MulticlassAveragePrecision,
    MultilabelAveragePrecision,
)


def build_condition(metric: Metric) -> "DifferentTargets | RowsOfClasses | None":
    """What the targets of a metric must hold; None for a metric that is always defined, or says
    itself that it is not.
    """
    if isinstance(metric, _NEEDS_DIFFERENT_TARGETS):
        return DifferentTargets()
    # other averages leave out classes without rows
    if isinstance(metric, _NEEDS_POSITIVES) and getattr(metric, "average", "macro") == "macro":
        several = isinstance(metric, MultilabelAUROC | MultilabelAveragePrecision)
        count = getattr(metric, "num_labels" if several else "num_classes", None)
        ranks = isinstance(metric, _RANKS_ROWS)
        return RowsOfClasses(
            int(count or 2), several, ranks, 1 if count is None else 0, metric.ignore_index
        )
    return None


class DifferentTargets(Metric):
    """Why a metric of regression is not defined: "" where two targets differ."""

    full_state_update = False
    lowest: Tensor
    highest: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("lowest", torch.tensor(torch.inf), dist_reduce_fx="min")
        self.add_state("highest", torch.tensor(-torch.inf), dist_reduce_fx="max")

    def update(self, targets: Tensor) -> None:
        self.lowest = torch.minimum(self.lowest, targets.min().to(self.lowest))
        self.highest = torch.maximum(self.highest, targets.max().to(self.highest))

    def compute(self) -> str:
        """The reason."""
        return "" if self.highest > self.lowest else "no two targets differ"


class RowsOfClasses(Metric):
    """Why a metric of classes is not defined: "" where all have rows, and others have too.

    Args:
        count: C.
        several: whether targets are zeros and ones [N, C]; else class indices [N].
        ranks: whether rows outside a class are needed as well.
        first: the first class that needs rows: 1 where the metric is of one class against none.
        ignored: the target that does not count.
    """

    full_state_update = False
    inside: Tensor
    outside: Tensor

    def __init__(
        self, count: int, several: bool, ranks: bool, first: int, ignored: int | None
    ) -> None:
        super().__init__()
        self.several, self.ranks, self.first, self.ignored = several, ranks, first, ignored
        zeros = torch.zeros(count, dtype=torch.long)
        self.add_state("inside", zeros, dist_reduce_fx="sum")
        self.add_state("outside", zeros.clone(), dist_reduce_fx="sum")

    def update(self, targets: Tensor) -> None:
        if self.several:
            counted = torch.ones_like(targets, dtype=torch.bool)
            if self.ignored is not None:
                counted = targets != self.ignored
            inside = ((targets == 1) & counted).sum(0)
            total = counted.sum(0)
        else:
            flat = targets.reshape(-1).long()
            flat = flat if self.ignored is None else flat[flat != self.ignored]
            inside = torch.bincount(flat, minlength=len(self.inside))
            total = torch.full_like(inside, len(flat))
        self.inside += inside
        self.outside += total - inside

    def compute(self) -> str:
        """The reason."""
        without = (self.inside == 0) | ((self.outside == 0) & self.ranks)
        places = without.nonzero().flatten().tolist()
        shown = [str(place) for place in places if place >= self.first]
        return f"no rows in, or none outside of, class {', '.join(shown[:3])}" if shown else ""
