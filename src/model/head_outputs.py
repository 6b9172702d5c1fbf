"""What the outputs of a head for whole texts stand for: one for each label, one for the second of
two labels, or one for each step between labels in an order.

Shape legend: B texts, O outputs of the head, C labels.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from src.model.model_classes import HeadType


def name_outputs(head: "HeadType", label_names: Sequence[str]) -> tuple[str, ...]:
    """The names that the outputs have in config.json.

    For ordinal labels a, b and c they are `>=b` and `>=c if >=b`.
    """
    if head == "binary":
        return tuple(label_names[1:])
    if head == "ordinal":
        steps = [f">={name}" for name in label_names[1:]]
        return (steps[0], *(f"{above} if {below}" for below, above in pairwise(steps)))
    return tuple(label_names)


def compute_class_scores(head: "HeadType", logits: "Tensor") -> "Tensor":
    """Scores [B, C] whose softmax is the probabilities of the labels, from what the head gives
    [B, O].

    The one output z of a binary head stands for [0, z]: sigmoid(z) is the second probability. The
    outputs z of an ordinal head give logarithms: with s = sigmoid(z), the probabilities of three
    labels are [1 - s0, s0 (1 - s1), s0 s1].
    """
    import torch
    from torch.nn.functional import logsigmoid

    if head == "binary":
        return torch.cat([torch.zeros_like(logits), logits], 1)
    if head == "ordinal":
        end = logits.new_zeros(len(logits), 1)
        passed = torch.cat([end, logsigmoid(logits).cumsum(1)], 1)
        return passed + torch.cat([logsigmoid(-logits), end], 1)
    return logits


def choose_ranks(probabilities: "Tensor") -> "Tensor":
    """The predicted one of labels in an order [B], from their probabilities [B, C]: the median,
    whose expected distance from the right one is the smallest.
    """
    return (probabilities.cumsum(1)[:, :-1] < 0.5).sum(1)
