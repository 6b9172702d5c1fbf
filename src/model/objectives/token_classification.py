"""A tag for each word, such as those of named entities."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.validation import Bound, validate_init
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.text_logits import check_num_labels, empty_output

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import TaggedBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType


@validate_init
@dataclass(frozen=True, kw_only=True)
class TokenClassification:
    """A tag for each word, given to its first token (Devlin et al., 2019, section 5.3).

    Args:
        num_labels: the number of tags, verified against the data; null takes that of the data.
    """

    kind: ClassVar[Task] = "token_classification"
    run_kind: ClassVar[str] = "finetune"
    metric_names: ClassVar[tuple[str, ...]] = ("loss", "precision", "recall", "f1", "accuracy")
    head: ClassVar["HeadType"] = "token_classification"

    num_labels: Annotated[int, Bound(least=2)] | None = None

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Raise UserError if the data have fewer than 2 tags, or not as many as declared."""
        check_num_labels(facts, self.num_labels)

    def forward(self, encoder: "Encoder", batch: "TaggedBatch") -> ObjectiveOutput:
        """The mean over the words that have a token. Outputs are the likeliest tags [S], 0 (O)
        where a word has no token and at the end of a text.
        """
        from torch.nn.functional import cross_entropy

        logits = encoder.compute_logits(batch.tokens, batch.positions).float()  # [K, C]
        if not len(batch.targets):
            return empty_output(logits, batch.targets)
        count = len(batch.positions)
        loss = cross_entropy(logits, batch.targets[batch.places], reduction="sum") / max(1, count)
        predicted = batch.targets.new_zeros(len(batch.targets))
        predicted[batch.places] = logits.detach().argmax(-1)
        return ObjectiveOutput(loss, count, predicted, batch.targets)

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        """Precision, recall and F1 of entities, and the share of words with the right tag."""
        from src.model.metrics.entity_score import EntityScore, TagAccuracy

        return {
            "precision": EntityScore("precision"),
            "recall": EntityScore("recall"),
            "f1": EntityScore("f1"),
            "accuracy": TagAccuracy(),
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        """Where tags are about no entities, as parts of speech are, only the accuracy is left."""
        from src.core.entity_tags import list_entity_types

        if list_entity_types(facts.label_names):
            return {}
        return dict.fromkeys(("precision", "recall", "f1"), math.nan)

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """The likeliest tags [S]."""
        return outputs
