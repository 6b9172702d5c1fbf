"""Causal language modelling."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.validation import validate_init
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.token_prediction import derive_perplexity, predict_tokens

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import NextTokenBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType


@validate_init
@dataclass(frozen=True, kw_only=True)
class CausalLM:
    """Predict each token from those before it (Radford et al., 2019), with a family that reads in
    one direction, such as GPT-2.
    """

    kind: ClassVar[Task] = "causal_lm"
    run_kind: ClassVar[str] = "pretrain"
    metric_names: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "accuracy")
    head: ClassVar["HeadType"] = "causal_lm"

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Any text will do."""

    def forward(self, encoder: "Encoder", batch: "NextTokenBatch") -> ObjectiveOutput:
        return predict_tokens(encoder, batch.tokens, batch.predicting, batch.targets)

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        from torchmetrics.classification import MulticlassAccuracy

        return {"accuracy": MulticlassAccuracy(num_labels, average="micro", validate_args=False)}

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        return derive_perplexity(values, facts)

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """The likeliest tokens [K], which are not stored."""
        return outputs
