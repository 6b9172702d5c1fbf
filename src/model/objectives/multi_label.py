"""Any number of classes for each text."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.notices import Notices
from src.core.validation import Bound, NonNegativeFloat, validate_init
from src.model.objectives.label_weights import (
    LabelWeights,
    describe_numbers,
    resolve_positive_weights,
    to_tensor,
)
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.regularization import (
    compute_decision_divergences,
    compute_twofold_losses,
)
from src.model.objectives.text_logits import check_num_labels, compute_text_logits, empty_output
from src.model.objectives.text_losses import compute_decision_losses

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import LabelledBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType


@validate_init
@dataclass(frozen=True, kw_only=True)
class MultiLabel:
    """Any number of labels for each text: one yes or no for each label, by binary cross-entropy.
    Weights and focus shape the loss of training alone.

    Args:
        num_labels: the number of labels, verified against the data; null takes that of the data.
        pos_weight: the loss of a yes is multiplied by the weight of its label: a number for each,
            as in `{anger: 5, joy: 2}`, or `balanced`, which gives the yes and the no of a label the
            same share of the loss. Null: 1 for all.
        focal_gamma: decisions that are right with probability p count (1 - p) to this power (Lin et
            al., 2017); 2 is usual, and null or 0 is the plain loss.
        r_drop: weight of the divergence between two passes of a text under other dropout (Liang et
            al., 2021), as the mean over the decisions; 0.3 to 1 are usual, a step takes twice the
            time. Null or 0: one pass.
    """

    kind: ClassVar[Task] = "multi_label"
    run_kind: ClassVar[str] = "finetune"
    metric_names: ClassVar[tuple[str, ...]] = ("loss", "f1_micro", "f1_macro", "subset_accuracy")
    head: ClassVar["HeadType"] = "sequence"

    num_labels: Annotated[int, Bound(least=2)] | None = None
    pos_weight: LabelWeights | None = None
    focal_gamma: NonNegativeFloat | None = None
    r_drop: NonNegativeFloat | None = None

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Raise UserError if the data have fewer than 2 labels, or not as many as declared."""
        check_num_labels(facts, self.num_labels)

    def with_dataset(self, facts: DatasetInfo) -> "MultiLabel":
        """This objective with the weights of all labels, in their order."""
        weights = resolve_positive_weights(self.pos_weight, facts, "model.objective.pos_weight")
        return replace(self, pos_weight=weights)

    def describe(self) -> Notices:
        """The weights of the labels."""
        assert not isinstance(self.pos_weight, str)
        return describe_numbers("weights of a yes", "objective/pos_weight", self.pos_weight)

    def forward(self, encoder: "Encoder", batch: "LabelledBatch") -> ObjectiveOutput:
        if self.r_drop and encoder.training and len(batch.labels):
            logits, losses = compute_twofold_losses(
                encoder,
                batch,
                self._compute_training_losses,
                compute_decision_divergences,
                strength=self.r_drop,
            )
        else:
            logits = compute_text_logits(encoder, batch)
            if not len(batch.labels):
                return empty_output(logits, batch.labels)
            compute = self._compute_training_losses if encoder.training else compute_decision_losses
            losses = compute(logits, batch.labels)
        # Metrics of torchmetrics take outputs for probabilities where all are between 0 and 1,
        # which logits may be by chance.
        return ObjectiveOutput(losses.mean(), len(batch.labels), logits.sigmoid(), batch.labels)

    def _compute_training_losses(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        assert not isinstance(self.pos_weight, str)
        weights = None if self.pos_weight is None else to_tensor(self.pos_weight, logits)
        return compute_decision_losses(
            logits, labels, positive_weights=weights, focal_gamma=self.focal_gamma or 0.0
        )

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        """F1 over all decisions and as the mean over the labels, and the share of texts whose
        labels are all right; a label is predicted above 0.5.
        """
        from torchmetrics.classification import MultilabelExactMatch, MultilabelF1Score

        return {
            "f1_micro": MultilabelF1Score(num_labels, average="micro", validate_args=False),
            "f1_macro": MultilabelF1Score(num_labels, average="macro", validate_args=False),
            "subset_accuracy": MultilabelExactMatch(num_labels, validate_args=False),
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        return {}

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """Probabilities [B, C], which need not sum to 1."""
        return outputs
