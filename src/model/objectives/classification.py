"""One class for each text."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.notices import Notices, join_notices
from src.core.user_errors import UserError
from src.core.validation import Bound, NonNegativeFloat, validate_init
from src.model.objectives.label_weights import (
    LabelNumbers,
    LabelWeights,
    describe_numbers,
    resolve_class_weights,
    resolve_label_shares,
    to_tensor,
)
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.regularization import (
    check_regularization,
    compute_class_output,
)
from src.model.objectives.text_logits import check_num_labels
from src.model.objectives.text_losses import compute_class_losses

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import LabelledBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType


@validate_init
@dataclass(frozen=True, kw_only=True)
class Classification:
    """One of several labels for each text. Smoothing, weights, focus and adjustment shape the loss
    of training alone; that of validation and test is the plain cross-entropy.

    Args:
        num_labels: the number of labels, verified against the data; null takes that of the data.
        label_smoothing: the share of the target that is spread over all labels (Szegedy et al.,
            2016, section 7).
        class_weights: the loss of a text is multiplied by the weight of its label: a number for
            each, as in `{no: 1, yes: 3}`, or `balanced`, which gives every label the same share of
            the loss. Null: 1 for all.
        focal_gamma: texts that are right with probability p count (1 - p) to this power (Lin et
            al., 2017); 2 is usual, and null or 0 is the plain loss.
        logit_adjustment: in training, this times the logarithm of a label's share is added to its
            logits (Menon et al., 2021); 1 aims at the mean recall over the labels, and null or 0 is
            the plain loss.
        label_shares: the share of each label for that, as a mapping; null: that in the training
            rows.
        r_drop: weight of the divergence between two passes of a text under other dropout (Liang et
            al., 2021); 0.3 to 1 are usual, a step takes twice the time. Null or 0: one pass.
        mixup: alpha of the Beta distribution by which the vectors of two texts and their losses are
            mixed (Zhang et al., 2018); 0.2 is usual. Null or 0: none.
    """

    kind: ClassVar[Task] = "classification"
    run_kind: ClassVar[str] = "finetune"
    metric_names: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "f1_macro")
    head: ClassVar["HeadType"] = "sequence"

    num_labels: Annotated[int, Bound(least=2)] | None = None
    label_smoothing: Annotated[float, Bound(least=0, below=1)] = 0.0
    class_weights: LabelWeights | None = None
    focal_gamma: NonNegativeFloat | None = None
    logit_adjustment: NonNegativeFloat | None = None
    label_shares: LabelNumbers | None = None
    r_drop: NonNegativeFloat | None = None
    mixup: NonNegativeFloat | None = None

    def __post_init__(self) -> None:
        if self.label_shares is not None and self.logit_adjustment is None:
            raise UserError(
                "goes with model.objective.logit_adjustment",
                key="model.objective.label_shares",
                hint="model.objective.logit_adjustment=1 is usual",
                colon=False,
            )

        check_regularization(self.r_drop, self.mixup)

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Raise UserError if the data have fewer than 2 labels, or not as many as declared."""
        check_num_labels(facts, self.num_labels)

    def with_dataset(self, facts: DatasetInfo) -> "Classification":
        """This objective with the weights and shares of all labels, in their order."""
        weights = resolve_class_weights(self.class_weights, facts, "model.objective.class_weights")
        if not self.logit_adjustment:
            return replace(self, class_weights=weights)
        shares = resolve_label_shares(
            self.label_shares,
            facts,
            "model.objective.label_shares",
            "model.objective.logit_adjustment",
        )
        return replace(self, class_weights=weights, label_shares=shares)

    def describe(self) -> Notices:
        """The weights and shares of the labels."""
        assert not isinstance(self.class_weights, str)
        weights = describe_numbers("class weights", "objective/class_weights", self.class_weights)
        if not self.logit_adjustment:
            return weights
        shares = describe_numbers(
            f"logits are adjusted in training by {self.logit_adjustment:g} times the logarithm of "
            "the labels' shares",
            "objective/label_shares",
            self.label_shares,
        )
        return join_notices(weights, shares)

    def forward(self, encoder: "Encoder", batch: "LabelledBatch") -> ObjectiveOutput:
        return compute_class_output(
            encoder,
            batch,
            training_losses=self._compute_training_losses,
            evaluation_losses=compute_class_losses,
            head=self.head,
            r_drop=self.r_drop,
            mixup=self.mixup,
        )

    def _compute_training_losses(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        assert not isinstance(self.class_weights, str)
        if self.logit_adjustment and self.label_shares is not None:
            shares = to_tensor(self.label_shares, logits)
            logits = logits + self.logit_adjustment * shares.log()
        return compute_class_losses(
            logits,
            labels,
            label_smoothing=self.label_smoothing,
            class_weights=None
            if self.class_weights is None
            else to_tensor(self.class_weights, logits),
            focal_gamma=self.focal_gamma or 0.0,
        )

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
