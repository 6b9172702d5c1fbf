"""A number for each text."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.validation import NonNegativeFloat, PositiveFloat, validate_init
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.regularization import compute_twofold_losses
from src.model.objectives.text_logits import compute_text_logits, empty_output

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import LabelledBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType


@validate_init
@dataclass(frozen=True, kw_only=True)
class Regression:
    """A number for each text or pair of texts, by squared error.

    Args:
        huber_delta: in training, errors beyond this many units of the targets count by their size
            and not by their square, and smaller ones by half their square (Huber, 1964); null: all
            by their square. The loss of validation and test is the squared error.
        r_drop: weight of the squared difference between two passes of a text under other dropout
            (Liang et al., 2021; it is their divergence where a number stands for a Gaussian around
            it, as the squared error is the loss of that); 0.3 to 1 are usual, a step takes twice
            the time. Null or 0: one pass.
    """

    kind: ClassVar[Task] = "regression"
    run_kind: ClassVar[str] = "finetune"
    metric_names: ClassVar[tuple[str, ...]] = ("loss", "pearson", "spearman", "mae")
    head: ClassVar["HeadType"] = "sequence"

    huber_delta: PositiveFloat | None = None
    r_drop: NonNegativeFloat | None = None

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Nothing is declared of values, so there is nothing to check."""

    def forward(self, encoder: "Encoder", batch: "LabelledBatch") -> ObjectiveOutput:
        from torch.nn.functional import mse_loss

        targets = batch.labels
        if self.r_drop and encoder.training and len(targets):
            outputs, losses = compute_twofold_losses(
                encoder,
                batch,
                self._compute_training_losses,
                lambda one, other: (one - other)[:, 0].square(),
                strength=self.r_drop,
            )
            return ObjectiveOutput(losses.mean(), len(targets), outputs[:, 0], targets)
        outputs = compute_text_logits(encoder, batch)
        values = outputs[:, 0]  # [B]
        if not len(targets):
            return empty_output(values, targets)
        if encoder.training:
            losses = self._compute_training_losses(outputs, targets)
            return ObjectiveOutput(losses.mean(), len(targets), values, targets)
        if values.device.type != "mps":
            # squares of outliers are too large for single precision, which is all that a Mac has
            values, targets = values.double(), targets.double()
        return ObjectiveOutput(mse_loss(values, targets), len(targets), values, targets)

    def _compute_training_losses(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """The loss of each text [B], from what the head gives [B, 1]."""
        from torch.nn.functional import huber_loss, mse_loss

        values = outputs[:, 0]
        if self.huber_delta is not None:
            return huber_loss(values, targets, delta=self.huber_delta, reduction="none")
        return mse_loss(values, targets, reduction="none")

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        from torchmetrics.regression import MeanAbsoluteError

        from src.model.metrics.correlation import Correlation

        return {
            "pearson": Correlation("pearson"),
            "spearman": Correlation("spearman"),
            "mae": MeanAbsoluteError(),
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        return {}

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        return outputs.float()
