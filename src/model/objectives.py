"""What is learnt: each objective is a loss and its metrics over an encoder and a batch.

Shape legend: B sequences, T real tokens, K masked positions, V vocabulary, C classes.
"""

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.regression import MeanAbsoluteError, PearsonCorrCoef, SpearmanCorrCoef

from src.model.encoder import Encoder, Head
from src.terms.batch import LabelledBatch, MaskedBatch
from src.terms.bounds import Annotated, Bound, checked
from src.terms.facts import Facts
from src.terms.fault import Fault


class Result(NamedTuple):
    """What one batch gives: the mean loss over `count` targets, and what metrics are computed from."""

    loss: Tensor  # scalar
    count: int  # type: ignore[assignment]  # tuples have a method of that name
    outputs: Tensor  # logits [B, C], values [B], or the likeliest tokens [K]; empty where a vocabulary is trained on
    targets: Tensor  # [K] or [B]


Kind = Literal["masked_lm", "classification", "regression"]


@checked
class MaskedLM(nn.Module):
    """Predict the tokens that were masked (Devlin et al., 2019, section 3.1), and compute logits for no others."""

    kind: ClassVar[Kind] = "masked_lm"
    purpose: ClassVar[str] = "pretrain"
    quantities: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "masked_accuracy")
    head: ClassVar[Head] = "masked_lm"

    def __init__(self) -> None:
        super().__init__()

    def check(self, facts: Facts) -> None:
        """Raise Fault where the data cannot be learnt from in this way."""
        if facts.mask_id is None:
            raise Fault("the tokenizer has no mask token, which masked language modelling needs (data.tokenizer)")

    def forward(self, encoder: Encoder, batch: MaskedBatch) -> Result:
        hidden = encoder.encode(batch.tokens, at=batch.masked)  # [K, D]
        count = len(batch.targets)  # 0 where a corpus ends with a short row of special tokens alone
        if self.training:
            loss = encoder.token_loss(hidden, batch.targets) / max(1, count)
            return Result(loss, count, hidden.new_empty(0), batch.targets)
        total, likeliest = encoder.token_answers(hidden, batch.targets)
        return Result(total / max(1, count), count, likeliest, batch.targets)

    def metrics(self, num_labels: int) -> dict[str, Metric]:
        return {"masked_accuracy": MulticlassAccuracy(num_labels, average="micro", validate_args=False)}

    def derived(self, values: dict[str, float], facts: Facts) -> dict[str, float]:
        """The perplexity is the exponential of the mean loss; the unigram entropy stands beside it as a yardstick."""
        yardstick = {} if facts.unigram_entropy is None else {"unigram_entropy": facts.unigram_entropy}
        return {"perplexity": float(torch.tensor(values["loss"]).exp()), **yardstick}

    def answer(self, outputs: Tensor) -> Tensor:
        """The likeliest tokens [K], never filed: probabilities over the vocabulary would be larger than the data."""
        return outputs


@checked
class Classification(nn.Module):
    """One of several labels for each text.

    Args:
        num_labels: how many; null takes what the data have. Declared in the data's config and verified against them.
        label_smoothing: share of the target spread over all labels (Szegedy et al., 2016, section 7).
    """

    kind: ClassVar[Kind] = "classification"
    purpose: ClassVar[str] = "finetune"
    quantities: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "f1_macro")
    head: ClassVar[Head] = "sequence"

    def __init__(
        self,
        *,
        num_labels: Annotated[int, Bound(least=2)] | None = None,
        label_smoothing: Annotated[float, Bound(least=0, below=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.label_smoothing = label_smoothing

    def check(self, facts: Facts) -> None:
        """Raise Fault where the labels are not those that were declared."""
        found = len(facts.label_names)
        if self.num_labels is not None and self.num_labels != found:
            raise Fault(
                f"the model expects {self.num_labels} labels (model.objective.num_labels) but the data have {found}: "
                f"{', '.join(facts.label_names)}"
            )
        if found < 2:
            raise Fault(
                f"classification needs at least 2 labels but the data have {found}; name the column that holds them "
                "(data.source), or choose another model: model=masked_lm, model=regression"
            )

    def forward(self, encoder: Encoder, batch: LabelledBatch) -> Result:
        logits = encoder.sequence_logits(encoder.encode_sequences(batch.tokens)).float()  # [B, C]
        if not len(batch.labels):
            return _nothing(logits, batch.labels)
        smoothing = self.label_smoothing if self.training else 0.0  # held-out losses stay comparable between runs
        loss = nn.functional.cross_entropy(logits, batch.labels, label_smoothing=smoothing)
        return Result(loss, len(batch.labels), logits, batch.labels)

    def metrics(self, num_labels: int) -> dict[str, Metric]:
        return {
            "accuracy": MulticlassAccuracy(num_labels, average="micro", validate_args=False),
            "f1_macro": MulticlassF1Score(num_labels, average="macro", validate_args=False),
        }

    def derived(self, values: dict[str, float], facts: Facts) -> dict[str, float]:
        return {}

    def answer(self, outputs: Tensor) -> Tensor:
        """Probabilities [B, C]."""
        return outputs.float().softmax(-1)


@checked
class Regression(nn.Module):
    """A number for each text or pair of texts, by squared error."""

    kind: ClassVar[Kind] = "regression"
    purpose: ClassVar[str] = "finetune"
    quantities: ClassVar[tuple[str, ...]] = ("loss", "pearson", "spearman", "mae")
    head: ClassVar[Head] = "sequence"

    def __init__(self) -> None:
        super().__init__()

    def check(self, facts: Facts) -> None:
        """Values need nothing declared."""

    def forward(self, encoder: Encoder, batch: LabelledBatch) -> Result:
        values = encoder.sequence_logits(encoder.encode_sequences(batch.tokens)).float()[:, 0]  # [B]
        if not len(batch.labels):
            return _nothing(values, batch.labels)
        return Result(nn.functional.mse_loss(values, batch.labels), len(batch.labels), values, batch.labels)

    def metrics(self, num_labels: int) -> dict[str, Metric]:
        return {"pearson": PearsonCorrCoef(), "spearman": SpearmanCorrCoef(), "mae": MeanAbsoluteError()}

    def derived(self, values: dict[str, float], facts: Facts) -> dict[str, float]:
        return {}

    def answer(self, outputs: Tensor) -> Tensor:
        return outputs.float()


def _nothing(outputs: Tensor, targets: Tensor) -> Result:
    """Of a batch without targets: no loss, and a gradient of zero for every weight that had a part in it."""
    return Result(outputs[:0].sum(), 0, outputs[:0], targets)
