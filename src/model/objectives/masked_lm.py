"""Masked language modelling."""

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.user_errors import UserError
from src.core.validation import validate_init
from src.model.objectives.objective import ObjectiveOutput

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import MaskedBatch
    from src.model.encoder import Encoder, HeadType

# of the largest number
_MAX_EXPONENT = math.log(sys.float_info.max)


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
        masked = (batch.tokens, batch.masked_positions, batch.targets)
        # 0 if a corpus ends with a short row that holds only special tokens.
        count = len(batch.targets)
        if encoder.training:
            loss = encoder.compute_loss_at(*masked) / max(1, count)
            return ObjectiveOutput(loss, count, loss.new_empty(0), batch.targets)
        total, likeliest = encoder.compute_loss_and_predictions_at(*masked)
        return ObjectiveOutput(total / max(1, count), count, likeliest, batch.targets)

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        from torchmetrics.classification import MulticlassAccuracy

        return {
            "masked_accuracy": MulticlassAccuracy(num_labels, average="micro", validate_args=False)
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        """The perplexity, which is the exponential of the mean loss, and as a yardstick the unigram
        entropy, if it is known. A perplexity beyond the range of numbers is infinite.
        """
        loss = values["loss"]
        perplexity = math.exp(loss) if loss < _MAX_EXPONENT else math.inf
        yardstick = (
            {} if facts.unigram_entropy is None else {"unigram_entropy": facts.unigram_entropy}
        )
        return {"perplexity": perplexity, **yardstick}

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """The likeliest tokens [K]. They are not stored: probabilities over the vocabulary would
        take more room than the data.
        """
        return outputs
