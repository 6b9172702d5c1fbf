"""The training objectives: each computes a loss from an encoder and a batch, and has its metrics.

An objective has no weights; those of the head belong to the encoder. It is a config node too, so
torch and torchmetrics are imported only inside its methods.

Shape legend: B sequences, T real tokens, K masked positions, V vocabulary, C classes.
"""

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from src.core.dataset_info import DatasetInfo, Task
from src.core.user_errors import UserError
from src.core.validation import Bound, validate_init

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import LabelledBatch, MaskedBatch
    from src.model.encoder import Encoder, HeadType

# of the largest number
_MAX_EXPONENT = math.log(sys.float_info.max)


class ObjectiveOutput(NamedTuple):
    """The loss of a batch, and what its metrics are computed from.

    Attributes:
        loss: the mean over the targets, a scalar.
        num_targets: the number of targets.
        outputs: logits [B, C], probabilities [B, C] where a text may have several labels, values
            [B], or the likeliest tokens [K]. Empty in the training of masked language modelling,
            which has no metrics.
        targets: [K], [B] or [B, C].
    """

    loss: "Tensor"
    num_targets: int
    outputs: "Tensor"
    targets: "Tensor"


@runtime_checkable
class Objective(Protocol):
    """An objective: a loss over an encoder and a batch, and its metrics. docs/own-code.md shows
    how to write one.

    Attributes:
        kind: the task whose data and batches it takes, as in `data.task`.
        run_kind: the tag `kind` of its runs, `pretrain` or `finetune`.
        metric_names: all metrics that validation measures, without `val/`.
        head: the head that the encoder must have.
    """

    kind: ClassVar[Task]
    run_kind: ClassVar[str]
    metric_names: ClassVar[tuple[str, ...]]
    head: ClassVar["HeadType"]

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Raise UserError if the objective cannot be learnt from these data."""

    def forward(self, encoder: "Encoder", batch: Any) -> ObjectiveOutput:
        """The loss of a batch. `encoder.training` says whether it is for a training step."""

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        """New metrics of one stage by name, without the loss. They are updated with the outputs and
        targets of the objective.

        Args:
            num_labels: the number of labels, or the size of the vocabulary if there are no labels.
        """

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        """Metrics that are computed from other metrics.

        Args:
            values: the metrics of one stage, the loss included.
            facts: the facts of the data set.
        """

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """Turn the outputs of `forward` into predictions as they are reported."""


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
        hidden = encoder.encode(batch.tokens, at=batch.masked_positions)  # [K, D]
        # 0 if a corpus ends with a short row that holds only special tokens.
        count = len(batch.targets)
        if encoder.training:
            loss = encoder.compute_token_loss(hidden, batch.targets) / max(1, count)
            return ObjectiveOutput(loss, count, hidden.new_empty(0), batch.targets)
        total, likeliest = encoder.compute_loss_and_predictions(hidden, batch.targets)
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
        _check_num_labels(facts, self.num_labels)

    def forward(self, encoder: "Encoder", batch: "LabelledBatch") -> ObjectiveOutput:
        from torch.nn.functional import cross_entropy

        logits = _compute_text_logits(encoder, batch)
        if not len(batch.labels):
            return _empty_output(logits, batch.labels)
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
        _check_num_labels(facts, self.num_labels)

    def forward(self, encoder: "Encoder", batch: "LabelledBatch") -> ObjectiveOutput:
        from torch.nn.functional import binary_cross_entropy_with_logits

        logits = _compute_text_logits(encoder, batch)
        if not len(batch.labels):
            return _empty_output(logits, batch.labels)
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


@validate_init
@dataclass(frozen=True, kw_only=True)
class Regression:
    """A number for each text or pair of texts, by squared error."""

    kind: ClassVar[Task] = "regression"
    run_kind: ClassVar[str] = "finetune"
    metric_names: ClassVar[tuple[str, ...]] = ("loss", "pearson", "spearman", "mae")
    head: ClassVar["HeadType"] = "sequence"

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Nothing is declared of values, so there is nothing to check."""

    def forward(self, encoder: "Encoder", batch: "LabelledBatch") -> ObjectiveOutput:
        from torch.nn.functional import mse_loss

        values = _compute_text_logits(encoder, batch)[:, 0]  # [B]
        if not len(batch.labels):
            return _empty_output(values, batch.labels)
        targets = batch.labels
        if not encoder.training and values.device.type != "mps":
            # squares of outliers are too large for single precision, which is all that a Mac has
            values, targets = values.double(), targets.double()
        return ObjectiveOutput(mse_loss(values, targets), len(targets), values, targets)

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        from torchmetrics.regression import MeanAbsoluteError

        from src.model.correlation import Correlation

        return {
            "pearson": Correlation("pearson"),
            "spearman": Correlation("spearman"),
            "mae": MeanAbsoluteError(),
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        return {}

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        return outputs.float()


def _compute_text_logits(encoder: "Encoder", batch: "LabelledBatch") -> "Tensor":
    """What the head gives for each text of a batch, in fp32, [B, C]."""
    return encoder.compute_sequence_logits(encoder.encode_sequences(batch.tokens)).float()


def _empty_output(outputs: "Tensor", targets: "Tensor") -> ObjectiveOutput:
    """The output of a batch without targets: a loss of zero, whose gradient is zero for every
    weight that was used.
    """
    return ObjectiveOutput(outputs[:0].sum(), 0, outputs[:0], targets)


def _check_num_labels(facts: DatasetInfo, declared: int | None) -> None:
    """Raise UserError if the data have fewer than 2 labels, or not as many as declared."""
    count = len(facts.label_names)
    if declared is not None and declared != count:
        raise UserError(
            f"the model expects {declared} labels (model.objective.num_labels) but the data have "
            f"{count}: {', '.join(facts.label_names)}"
        )
    if count < 2:
        raise UserError(
            f"classification needs at least 2 labels but the data have {count}; name the column "
            "that holds them "
            "(data.source), or choose another model: model=masked_lm, model=regression"
        )
