"""A yes or no for each text, by one output."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from src.core.dataset_info import DatasetInfo, Task
from src.core.notices import Notices
from src.core.user_errors import UserError
from src.core.validation import NonNegativeFloat, PositiveFloat, validate_init
from src.model.objectives.label_weights import resolve_positive_weights
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.regularization import (
    check_regularization,
    compute_class_output,
)
from src.model.objectives.text_losses import compute_decision_losses

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import LabelledBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType


@validate_init
@dataclass(frozen=True, kw_only=True)
class Binary:
    """One of two labels for each text, by one output and binary cross-entropy: the output says
    whether it is the second label. Weight and focus shape the loss of training alone.

    Args:
        positive: the second label, verified against the data; null takes that of the data. `f1` is
            measured of it.
        pos_weight: the loss of a text with the second label is multiplied by this number, or, for
            `balanced`, by that of training rows with the first label for each with the second.
            Null: 1.
        focal_gamma: texts that are right with probability p count (1 - p) to this power (Lin et
            al., 2017); 2 is usual, and null or 0 is the plain loss.
        r_drop: weight of the divergence between two passes of a text under other dropout (Liang et
            al., 2021); 0.3 to 1 are usual, a step takes twice the time. Null or 0: one pass.
        mixup: alpha of the Beta distribution by which the vectors of two texts and their losses are
            mixed (Zhang et al., 2018); 0.2 is usual. Null or 0: none.
    """

    kind: ClassVar[Task] = "classification"
    run_kind: ClassVar[str] = "finetune"
    metric_names: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "f1_macro", "f1", "auroc")
    head: ClassVar["HeadType"] = "binary"

    positive: str | None = None
    pos_weight: Literal["balanced"] | PositiveFloat | None = None
    focal_gamma: NonNegativeFloat | None = None
    r_drop: NonNegativeFloat | None = None
    mixup: NonNegativeFloat | None = None

    def __post_init__(self) -> None:
        check_regularization(self.r_drop, self.mixup)

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Raise UserError if the data have not exactly 2 labels, or not the declared second one."""
        count = len(facts.label_names)
        if count != 2:
            raise UserError(
                f"one output tells 2 labels apart, but the data have {count}"
                + f": {', '.join(facts.label_names)}" * (count > 0),
                key="model.objective",
                hint="model=classification has an output for each",
            )
        for error in self.find_label_errors(facts.label_names, self.positive):
            raise error

    @staticmethod
    def find_label_errors(names: Sequence[str], positive: str | None) -> Iterator[UserError]:
        """The error of a declared second label that is another one of the data, or none."""
        if positive in (None, names[1]):
            return
        if positive == names[0]:
            yield UserError(
                f"the second label is {names[1]}",
                key="model.objective.positive",
                value=positive,
                alternative=("data.label_names", f"[{','.join(reversed(names))}]"),
            )
            return
        yield UserError(
            f"there is no such label; of {' and '.join(names)} the second one is {names[1]}",
            key="model.objective.positive",
            value=positive,
            about=("data.label_names",),
        )

    def with_dataset(self, facts: DatasetInfo) -> "Binary":
        """This objective with the second label and its weight."""
        positive, weight = facts.label_names[1], self.pos_weight
        if weight == "balanced":
            weights = resolve_positive_weights(weight, facts, "model.objective.pos_weight")
            weight = weights[positive] if weights is not None else None
        return replace(self, positive=positive, pos_weight=weight)

    def describe(self) -> Notices:
        """The second label and its weight."""
        line, tags = f"the one output says '{self.positive}'", {}
        if self.pos_weight is not None:
            line += f", which weighs {self.pos_weight:.4g}"
            tags["objective/pos_weight"] = f"{self.pos_weight:.4g}"
        return Notices((line,), {"objective/positive": str(self.positive), **tags})

    def forward(self, encoder: "Encoder", batch: "LabelledBatch") -> ObjectiveOutput:
        return compute_class_output(
            encoder,
            batch,
            training_losses=self._compute_training_losses,
            evaluation_losses=_compute_plain_losses,
            head=self.head,
            r_drop=self.r_drop,
            mixup=self.mixup,
        )

    def _compute_training_losses(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        assert self.pos_weight != "balanced"
        return compute_decision_losses(
            logits[:, 0],
            labels,
            positive_weights=self.pos_weight,
            focal_gamma=self.focal_gamma or 0.0,
        )

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        """Accuracy, the mean F1 of both labels, F1 of the second, and the area under the ROC
        curve.
        """
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

        from src.model.metrics.binary_metrics import PositiveF1, RankingArea

        return {
            "accuracy": MulticlassAccuracy(2, average="micro", validate_args=False),
            "f1_macro": MulticlassF1Score(2, average="macro", validate_args=False),
            "f1": PositiveF1(validate_args=False),
            "auroc": RankingArea(),
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        return {}

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """Probabilities [B, 2]."""
        return outputs.float().softmax(-1)


def _compute_plain_losses(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """The binary cross-entropy [B] of the one output [B, 1]."""
    return compute_decision_losses(logits[:, 0], labels)
