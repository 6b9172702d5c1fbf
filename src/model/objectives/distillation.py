"""One class for each text, learnt from labels and from what a teacher makes of the same text."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.user_errors import UserError
from src.core.validation import Bound, Fraction, PositiveFloat, validate_init
from src.model.objectives.classification import Classification
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.text_logits import check_num_labels, compute_text_logits, empty_output

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import LabelledBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType

TEACHER_KEY = "model.objective.teacher"


@validate_init
@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The labels, and the probabilities of a teacher for the same texts (Hinton et al., 2015).

    The loss in training is (1 - `soft_share`) times the cross-entropy with the labels, plus
    `soft_share` times the squared temperature times the divergence of the student's softened
    probabilities from the teacher's. Evaluation has the cross-entropy with the labels alone, so
    losses can be compared with those of other objectives. The teacher must have the same labels
    and the same tokens; it reads each batch once more, without gradients.

    Args:
        teacher: the id of an earlier run with a classifier, or its model folder.
        temperature: what logits are divided by before both softmaxes; more shows more of what the
            teacher knows of the labels that it does not choose.
        soft_share: of the teacher in the loss; with 1, the labels are not looked at.
        num_labels: the number of labels, verified against the data; null takes that of the data.
    """

    kind: ClassVar[Task] = "classification"
    run_kind: ClassVar[str] = "finetune"
    metric_names: ClassVar[tuple[str, ...]] = Classification.metric_names
    head: ClassVar["HeadType"] = "sequence"

    teacher: str
    temperature: PositiveFloat = 2.0
    soft_share: Fraction = 0.5
    num_labels: Annotated[int, Bound(least=2)] | None = None

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Load the teacher, if `teacher` is its folder. Raises UserError if the data have not as
        many labels as declared, or if the teacher was trained for others, or reads other tokens.
        """
        check_num_labels(facts, self.num_labels)
        if Path(self.teacher).is_dir():
            # No weights of this program's model: neither trained nor in its checkpoints.
            vars(self)["loaded_teacher"] = load_teacher(self.teacher, facts)

    def forward(self, encoder: "Encoder", batch: "LabelledBatch") -> ObjectiveOutput:
        from torch.nn.functional import cross_entropy

        logits = compute_text_logits(encoder, batch)
        if not len(batch.labels):
            return empty_output(logits, batch.labels)
        loss = cross_entropy(logits, batch.labels)
        if encoder.training:
            soft = soft_loss(logits, self._ask_teacher(batch), self.temperature)
            loss = (1 - self.soft_share) * loss + self.soft_share * soft
        return ObjectiveOutput(loss, len(batch.labels), logits, batch.labels)

    def _ask_teacher(self, batch: "LabelledBatch") -> "Tensor":
        """The teacher's logits for a batch, [B, C]."""
        import torch

        teacher = vars(self).get("loaded_teacher")
        if teacher is None:
            raise RuntimeError(f"{self.teacher} is no folder: the teacher was not fetched")
        if next(teacher.parameters()).device != batch.tokens.ids.device:
            teacher.to(batch.tokens.ids.device)
        with torch.no_grad():
            return compute_text_logits(teacher, batch)

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        return Classification().build_metrics(num_labels)

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        return {}

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """Probabilities [B, C]."""
        return Classification().to_predictions(outputs)


def soft_loss(student: "Tensor", teacher: "Tensor", temperature: float) -> "Tensor":
    """The mean divergence of softened probabilities of logits [B, C] from those of a teacher,
    times the squared temperature, so that its gradient keeps its size (Hinton et al., 2015).
    """
    from torch.nn.functional import kl_div

    ours, theirs = ((part / temperature).log_softmax(-1) for part in (student, teacher))
    return kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def load_teacher(folder: str, facts: DatasetInfo) -> "Encoder":
    """The classifier of a folder in eval mode, its labels in the order of the data's.

    Raises UserError if it reads other tokens or judges other labels.
    """
    import torch

    from src.model.encoder_config import Pretrained

    try:
        # what is loaded must not change which numbers the student draws
        with torch.random.fork_rng(devices=[]):
            teacher = Pretrained(name_or_path=folder).build("sequence", facts, facts.label_names)
    except UserError as error:
        raise UserError(f"the teacher cannot read these data: {error}", key=TEACHER_KEY) from error
    assert teacher.loaded_weights is not None
    if teacher.loaded_weights.fresh:
        raise UserError(
            "the teacher does not judge these labels",
            key=TEACHER_KEY,
            expected=f"a classifier for {', '.join(facts.label_names)}",
            found=teacher.loaded_weights.head or "an encoder without a head",
        )
    return teacher.requires_grad_(False).eval()
