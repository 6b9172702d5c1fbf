"""A rank for each text: labels in an order."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.notices import Notices
from src.core.user_errors import UserError
from src.core.validation import NonNegativeFloat, validate_init
from src.model.head_outputs import compute_class_scores
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.regularization import (
    check_regularization,
    compute_class_output,
)
from src.model.objectives.text_logits import check_num_labels

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import LabelledBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@validate_init
@dataclass(frozen=True, kw_only=True)
class Ordinal:
    """One of several labels in an order for each text, such as one to five stars: an output for
    every step says whether the text is beyond it, of those that have come so far (continuation
    ratios: Tutz, 1991; Shi et al., 2021). The loss is the mean of -ln p of the labels, as in
    classification.

    Args:
        label_names: the labels from the lowest to the highest, as the data declare them; null: they
            are numbers.
        r_drop: weight of the divergence between two passes of a text under other dropout (Liang et
            al., 2021); 0.3 to 1 are usual, a step takes twice the time. Null or 0: one pass.
        mixup: alpha of the Beta distribution by which the vectors of two texts and their losses are
            mixed (Zhang et al., 2018); 0.2 is usual. Null or 0: none.
    """

    kind: ClassVar[Task] = "classification"
    run_kind: ClassVar[str] = "finetune"
    metric_names: ClassVar[tuple[str, ...]] = (
        "loss",
        "accuracy",
        "mae",
        "quadratic_kappa",
        "spearman",
    )
    head: ClassVar["HeadType"] = "ordinal"

    label_names: list[str | float] | str | None = None
    r_drop: NonNegativeFloat | None = None
    mixup: NonNegativeFloat | None = None

    def __post_init__(self) -> None:
        check_regularization(self.r_drop, self.mixup)

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Raise UserError if the data have fewer than 2 labels, or labels of unknown order."""
        check_num_labels(facts, None)
        if self.label_names is None and not all(map(_NUMBER.fullmatch, facts.label_names)):
            raise UserError(
                f"the order of the labels is not known: {', '.join(facts.label_names)}",
                key="data.label_names",
                expected="all labels, from the lowest to the highest",
            )

    def with_dataset(self, facts: DatasetInfo) -> "Ordinal":
        """This objective with the labels in their order."""
        return replace(self, label_names=list(facts.label_names))

    def describe(self) -> Notices:
        """The order of the labels."""
        order = " < ".join(map(str, self.label_names or ()))
        return Notices((f"order of the labels: {order}",), {"objective/label_order": order})

    def forward(self, encoder: "Encoder", batch: "LabelledBatch") -> ObjectiveOutput:
        return compute_class_output(
            encoder,
            batch,
            training_losses=self._compute_losses,
            evaluation_losses=self._compute_losses,
            head=self.head,
            r_drop=self.r_drop,
            mixup=self.mixup,
        )

    def _compute_losses(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        # the scores are logarithms of probabilities as they are
        return -compute_class_scores(self.head, logits).gather(1, labels[:, None])[:, 0]

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        """Of the predicted rank: accuracy, the mean distance, and Cohen's kappa with quadratic
        weights; and the rank correlation of the expected rank.
        """
        from src.model.metrics.correlation import Correlation
        from src.model.metrics.rank_metrics import (
            RankAccuracy,
            RankError,
            RankKappa,
            compute_expected_ranks,
        )

        return {
            "accuracy": RankAccuracy(num_labels, average="micro", validate_args=False),
            "mae": RankError(),
            "quadratic_kappa": RankKappa(num_labels, weights="quadratic", validate_args=False),
            "spearman": Correlation("spearman", read=compute_expected_ranks),
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        return {}

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """Probabilities [B, C]."""
        return outputs.float().softmax(-1)
