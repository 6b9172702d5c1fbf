"""What an objective is: it computes a loss from an encoder and a batch, and has its metrics.

An objective has no weights; those of the head belong to the encoder, as do those of a generator.
It is a config node too, so torch and torchmetrics are imported only inside its methods.

Shape legend: B sequences, T real tokens, K masked positions, V vocabulary, C classes.
"""

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from src.core.dataset_info import DatasetInfo, Task
from src.core.notices import Notices

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType


class TokenScores(NamedTuple):
    """How well each masked token [K] was predicted: its loss, and whether the likeliest token is
    the right one.
    """

    losses: "Tensor"
    is_right: "Tensor"


class ObjectiveOutput(NamedTuple):
    """The loss of a batch, and what its metrics are computed from.

    Attributes:
        loss: the mean over the targets, a scalar.
        num_targets: the number of targets.
        outputs: logits [B, C], probabilities [B, C] where a text may have several labels, values
            [B], or the likeliest tokens [K]. Empty in the training of masked language modelling,
            which has no metrics.
        targets: [K], [B] or [B, C].
        token_scores: of the masked tokens, in the evaluation of masked language modelling.
    """

    loss: "Tensor"
    num_targets: int
    outputs: "Tensor"
    targets: "Tensor"
    token_scores: TokenScores | None = None


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


@runtime_checkable
class GeneratorObjective(Protocol):
    """An objective that trains a second network beside the encoder, which makes what the encoder
    reads. It lies in `encoder.generator`: trained by the same optimizer and kept in checkpoints,
    but not saved as the run's model.
    """

    def build_generator(self, encoder: "Encoder") -> "Encoder":
        """That network, fresh, for an encoder with its weights."""


@runtime_checkable
class DatasetObjective(Protocol):
    """An objective whose loss takes numbers from the data, such as how rare each label is."""

    def with_dataset(self, facts: DatasetInfo) -> Objective:
        """This objective with those numbers filled in. Raises UserError if they do not go with what
        the config says.
        """

    def describe(self) -> Notices:
        """What was filled in, for the screen and the record of the run."""
