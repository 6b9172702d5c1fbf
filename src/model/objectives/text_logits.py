"""What the objectives of whole texts have in common."""

from typing import TYPE_CHECKING

from src.core.dataset_info import DatasetInfo
from src.core.user_errors import UserError
from src.model.objectives.objective import ObjectiveOutput

if TYPE_CHECKING:
    from torch import Tensor

    from src.core.batch import LabelledBatch
    from src.model.encoder import Encoder


def compute_text_logits(encoder: "Encoder", batch: "LabelledBatch") -> "Tensor":
    """What the head gives for each text of a batch, in fp32, [B, C]."""
    return encoder.compute_logits(batch.tokens).float()


def empty_output(outputs: "Tensor", targets: "Tensor") -> ObjectiveOutput:
    """The output of a batch without targets: a loss of zero, whose gradient is zero for every
    weight that was used.
    """
    return ObjectiveOutput(outputs[:0].sum(), 0, outputs[:0], targets)


def check_num_labels(facts: DatasetInfo, declared: int | None) -> None:
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
