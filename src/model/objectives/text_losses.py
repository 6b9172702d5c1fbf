"""Losses of whole texts that do more for rare or hard ones than the plain ones do.

They are for training; what is measured in validation and test is the plain loss, so that runs
compare.

Shape legend: B texts, C labels.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def compute_class_losses(
    logits: "Tensor",
    labels: "Tensor",
    *,
    label_smoothing: float = 0.0,
    class_weights: "Tensor | None" = None,
    focal_gamma: float = 0.0,
) -> "Tensor":
    """The loss of each text [B], from logits [B, C] and class indices [B].

    Args:
        label_smoothing: the share of the target that is spread over all labels.
        class_weights: [C]; the loss of a text is multiplied by that of its label.
        focal_gamma: the loss is multiplied by (1 - p) to this power, where p is the probability of
            the text's label (Lin et al., 2017, equation 4).
    """
    from torch.nn.functional import cross_entropy

    losses = cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    if focal_gamma:
        plain = cross_entropy(logits, labels, reduction="none") if label_smoothing else losses
        losses = losses * _compute_focus(plain, focal_gamma)
    return losses if class_weights is None else losses * class_weights[labels]


def compute_decision_losses(
    logits: "Tensor",
    targets: "Tensor",
    *,
    positive_weights: "Tensor | float | None" = None,
    focal_gamma: float = 0.0,
) -> "Tensor":
    """The loss of each yes or no, of the shape of the logits, from targets of 0 or 1.

    Args:
        positive_weights: the loss of a yes is multiplied by these, a number or [C].
        focal_gamma: as for `compute_class_losses`, where p is the probability of the right answer.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits

    losses = binary_cross_entropy_with_logits(logits, targets.float(), reduction="none")
    if focal_gamma:
        losses = losses * _compute_focus(losses, focal_gamma)
    if positive_weights is None:
        return losses
    # a yes has a target of 1
    return losses * (1 + (positive_weights - 1) * targets)


def _compute_focus(losses: "Tensor", gamma: float) -> "Tensor":
    """The factor of the focal loss from the plain losses -ln p."""
    import torch

    # at p = 1, the slope of a power below 1 is infinite
    missed = (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).tiny)
    return missed**gamma
