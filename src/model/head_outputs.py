"""What the outputs of a head for whole texts stand for: one for each label, or one for the second
of two labels.

Shape legend: B texts, O outputs of the head, C labels.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from src.model.encoder import HeadType


def name_outputs(head: "HeadType", label_names: Sequence[str]) -> tuple[str, ...]:
    """The names that the outputs have in config.json."""
    return tuple(label_names[1:]) if head == "binary" else tuple(label_names)


def compute_class_scores(head: "HeadType", logits: "Tensor") -> "Tensor":
    """Scores [B, C] whose softmax is the probabilities of the labels, from what the head gives
    [B, O].

    The one output z of a binary head stands for [0, z]: sigmoid(z) is the second probability.
    """
    import torch

    return torch.cat([torch.zeros_like(logits), logits], 1) if head == "binary" else logits
