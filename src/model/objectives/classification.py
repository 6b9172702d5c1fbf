"""One class for each text."""

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
class Classification:
    """One of several labels for each text.

    Args:
        num_labels: the number of labels, verified against the data; null takes that of the data.
        label_smoothing: the share of the target that is spread over all labels (Szegedy et al.,
            2016, section 7).
    """

    kind: ClassVar[Task] = "classification"
    run_kind: ClassVar[str] = "finetune"
    metric_names: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "f1_macro")
    head: ClassVar["HeadType"] = "sequence"

    num_labels: Annotated[int, Bound(least=2)] | None = None
    label_smoothing: Annotated[float, Bound(least=0, below=1)] = 0.0

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Raise UserError if the data have fewer than 2 labels, or not as many as declared."""
        check_num_labels(facts, self.num_labels)

    def forward(self, encoder: "Encoder", batch: "LabelledBatch") -> ObjectiveOutput:
        from torch.nn.functional import cross_entropy

        logits = compute_text_logits(encoder, batch)
        if not len(batch.labels):
            return empty_output(logits, batch.labels)
        # Without smoothing in evaluation, so that losses can be compared between runs.
        smoothing = self.label_smoothing if encoder.training else 0.0
        loss = cross_entropy(logits, batch.labels, label_smoothing=smoothing)
        return ObjectiveOutput(loss, len(batch.labels), logits, batch.labels)

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

        return {
            "accuracy": MulticlassAccuracy(num_labels, average="micro", validate_args=False),
            "f1_macro": MulticlassF1Score(num_labels, average="macro", validate_args=False),
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        return {}

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """Probabilities [B, C]."""
        return outputs.float().softmax(-1)
