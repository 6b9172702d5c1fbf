"""Any number of classes for each text."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.validation import Bound, validate_init
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.text_logits import check_num_labels, compute_text_logits, empty_output

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import LabelledBatch
    from src.model.encoder import Encoder, HeadType


@validate_init
@dataclass(frozen=True, kw_only=True)
class MultiLabel:
    """Any number of labels for each text: one yes or no for each label, by binary cross-entropy.

    Args:
        num_labels: the number of labels, verified against the data; null takes that of the data.
    """

    kind: ClassVar[Task] = "multi_label"
    run_kind: ClassVar[str] = "finetune"
    metric_names: ClassVar[tuple[str, ...]] = ("loss", "f1_micro", "f1_macro", "subset_accuracy")
    head: ClassVar["HeadType"] = "sequence"

    num_labels: Annotated[int, Bound(least=2)] | None = None

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Raise UserError if the data have fewer than 2 labels, or not as many as declared."""
        check_num_labels(facts, self.num_labels)

    def forward(self, encoder: "Encoder", batch: "LabelledBatch") -> ObjectiveOutput:
        from torch.nn.functional import binary_cross_entropy_with_logits

        logits = compute_text_logits(encoder, batch)
        if not len(batch.labels):
            return empty_output(logits, batch.labels)
        loss = binary_cross_entropy_with_logits(logits, batch.labels.float())
        # Metrics of torchmetrics take outputs for probabilities where all are between 0 and 1,
        # which logits may be by chance.
        return ObjectiveOutput(loss, len(batch.labels), logits.sigmoid(), batch.labels)

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
