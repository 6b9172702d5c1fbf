"""Denoising: a network with an encoder and a decoder writes what noise has hidden."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.validation import validate_init
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.token_prediction import derive_perplexity

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import DenoisingBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType


@validate_init
@dataclass(frozen=True, kw_only=True)
class Denoising:
    """Write a noised text as it was (Lewis et al., 2020: BART), or the spans that are missing in it
    (Raffel et al., 2020: T5), token by token; `data.batching.target` says which.

    The loss is the mean cross-entropy of all tokens that are to be written, as transformers has it.
    Most of these may stand in the noised text and are only copied, so the tokens that it lacks are
    also measured by themselves; the perplexity is theirs.
    """

    kind: ClassVar[Task] = "denoising"
    run_kind: ClassVar[str] = "pretrain"
    metric_names: ClassVar[tuple[str, ...]] = (
        "loss",
        "accuracy",
        "missing_loss",
        "missing_accuracy",
        "perplexity",
    )
    head: ClassVar["HeadType"] = "denoising"

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Any text will do; the batches know what they need of the tokenizer."""

    def forward(self, encoder: "Encoder", batch: "DenoisingBatch") -> ObjectiveOutput:
        """Outputs [U, 3] are the likeliest token, its loss and whether the text lacks the right
        one, as `WrittenTokens` reads them.
        """
        import torch
        from torch.nn.functional import cross_entropy

        targets = batch.target_tokens.ids
        logits = encoder.compute_target_logits(batch.tokens, batch.target_tokens).float()
        if not batch.num_targets:
            return ObjectiveOutput(0.0 * logits.sum(), 0, logits.new_empty(0), targets[:0])
        if encoder.training:
            loss = cross_entropy(logits, targets)
            return ObjectiveOutput(loss, batch.num_targets, logits.new_empty(0), targets)
        losses = cross_entropy(logits, targets, reduction="none")
        outputs = torch.stack((logits.argmax(-1), losses, batch.is_missing), 1)
        return ObjectiveOutput(losses.mean(), batch.num_targets, outputs, targets)

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        from src.model.metrics.written_tokens import WrittenTokens

        return {
            "accuracy": WrittenTokens("all", "accuracy"),
            "missing_loss": WrittenTokens("missing", "loss"),
            "missing_accuracy": WrittenTokens("missing", "accuracy"),
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        """The perplexity of the tokens that the noised texts lack, and its yardstick."""
        return derive_perplexity({"loss": values["missing_loss"]}, facts)

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """The outputs as they are, which are not stored."""
        return outputs
