"""Masked language modelling with a second question for each row: do its two segments belong
together?
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.validation import validate_init
from src.model.objectives.masked_lm import MaskedLM
from src.model.objectives.objective import ObjectiveOutput, TokenScores
from src.model.objectives.token_prediction import derive_perplexity

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import SentencePairBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType


@validate_init
@dataclass(frozen=True, kw_only=True)
class MaskedLMWithNextSentence:
    """Predict the tokens that were masked, and whether the second segment goes on where the first
    ends (Devlin et al., 2019, section 3.1) or both are swapped (Lan et al., 2020);
    `data.batching.pair_task` says which.

    The loss is the sum of two means: over the masked tokens, and over the rows. Held-out, these are
    the means over the whole split. Where an optimizer step has several batches, each counts by its
    masked tokens.
    """

    kind: ClassVar[Task] = "masked_lm_with_next_sentence"
    run_kind: ClassVar[str] = "pretrain"
    metric_names: ClassVar[tuple[str, ...]] = (
        "loss",
        "masked_loss",
        "next_sentence_loss",
        "perplexity",
        "masked_accuracy",
        "next_sentence_accuracy",
    )
    head: ClassVar["HeadType"] = "masked_lm_with_next_sentence"

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Raise UserError if the objective cannot be learnt from these data."""
        MaskedLM().check_dataset(facts)

    def forward(self, encoder: "Encoder", batch: "SentencePairBatch") -> ObjectiveOutput:
        """Outputs [K + B, 2] and targets [K + B] are those of tokens and then of pairs, as
        `TargetMean` reads them.
        """
        import torch
        from torch.nn.functional import cross_entropy

        num_masked, num_pairs = len(batch.targets), len(batch.pair_labels)
        firsts = batch.tokens.cu_seqlens[:-1].long()
        hidden = encoder.encode(batch.tokens, at=torch.cat((batch.masked_positions, firsts)))
        masked, first = hidden[:num_masked], hidden[num_masked:]
        # a rank without rows has a sequence but no label for it
        pair_logits = encoder.compute_pair_logits(first)[:num_pairs].float()
        pair_losses = cross_entropy(pair_logits, batch.pair_labels, reduction="none")
        pair_loss = pair_losses.sum() / max(1, num_pairs)
        targets = torch.cat((batch.targets, -1 - batch.pair_labels))
        if encoder.training:
            total = encoder.compute_token_loss(masked, batch.targets)
            loss = total / max(1, num_masked) + pair_loss
            return ObjectiveOutput(loss, num_masked, loss.new_empty(0), targets)
        token_losses, likeliest = encoder.compute_losses_and_predictions(masked, batch.targets)
        predictions = torch.cat((likeliest, -1 - pair_logits.argmax(-1)))
        losses = torch.cat((token_losses, pair_losses.detach()))
        outputs = torch.stack((predictions.float(), losses), 1)
        loss = token_losses.sum() / max(1, num_masked) + pair_loss
        scores = TokenScores(token_losses, likeliest == batch.targets)
        return ObjectiveOutput(loss, num_masked, outputs, targets, scores)

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        from src.model.metrics.target_mean import TargetMean

        return {
            "masked_loss": TargetMean("tokens", "loss"),
            "next_sentence_loss": TargetMean("pairs", "loss"),
            "masked_accuracy": TargetMean("tokens", "accuracy"),
            "next_sentence_accuracy": TargetMean("pairs", "accuracy"),
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        """The perplexity is that of the masked tokens. The loss is put together again from the
        means over the split: batches differ in how many masked tokens a row has.
        """
        masked_loss = values["masked_loss"]
        derived = derive_perplexity({"loss": masked_loss}, facts)
        return {"loss": masked_loss + values["next_sentence_loss"], **derived}

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """The outputs as they are, which are not stored."""
        return outputs
