"""Masked language modelling."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.user_errors import UserError
from src.core.validation import validate_init
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.token_prediction import derive_perplexity, predict_tokens

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import MaskedBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType


@validate_init
@dataclass(frozen=True, kw_only=True)
class MaskedLM:
    """Predict the tokens that were masked (Devlin et al., 2019, section 3.1). Logits are computed
    for these alone.
    """

    kind: ClassVar[Task] = "masked_lm"
    run_kind: ClassVar[str] = "pretrain"
    metric_names: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "masked_accuracy")
    head: ClassVar["HeadType"] = "masked_lm"

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Raise UserError if the objective cannot be learnt from these data."""
        if facts.mask_id is None:
            raise UserError(
                "the tokenizer has no mask token, which masked language modelling needs "
                "(data.tokenizer)"
            )

    def forward(self, encoder: "Encoder", batch: "MaskedBatch") -> ObjectiveOutput:
        return predict_tokens(encoder, batch.tokens, batch.masked_positions, batch.targets)

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        from torchmetrics.classification import MulticlassAccuracy

        return {
            "masked_accuracy": MulticlassAccuracy(num_labels, average="micro", validate_args=False)
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        return derive_perplexity(values, facts)

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """The likeliest tokens [K]. They are not stored: probabilities over the vocabulary would
        take more room than the data.
        """
        return outputs
