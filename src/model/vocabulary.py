"""The loss over a vocabulary, for the tokens that are asked for and with one copy of their logits at most.

Shape legend: K chosen tokens, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

_LOGITS_AT_ONCE = 2**23  # of those that are judged: 32 MB in fp32, and twice as fast on a CPU as all of them together


def vocabulary_loss(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Sum over K of the cross-entropy of softmax(hidden [K, D] @ weight.T [D, V] + bias [V]) with targets [K].

    Computed in the type of autocast where that is on. The probabilities take the logits' place and, less 1 at the
    targets, are the gradient already: nothing else of the size [K, V] is kept, and none of it in fp32. Normalised in
    fp32 inside of the softmax; what is rounded is each probability, to the precision of the type. What a target lacks
    of 1 is the sum of the others, so that a confident prediction keeps its loss and its gradient.

    A target so unlikely that its probability is 0 in fp32 counts as 87.3; its gradient is exact.
    """
    alike = _alike(hidden, weight, bias)
    with torch.autocast(hidden.device.type, enabled=False):
        return _Loss.apply(*alike, targets)


@torch.no_grad()
def vocabulary_answers(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> tuple[Tensor, Tensor]:
    """What held-out tokens are judged by: the sum of `vocabulary_loss`, and the likeliest token of each [K].

    For few tokens at a time, whose logits are made fp32: exact to the precision of the logits, and no gradient.
    """
    hidden, weight, bias = _alike(hidden, weight, bias)
    count = max(1, _LOGITS_AT_ONCE // len(weight))
    losses = torch.empty(len(targets), device=hidden.device)
    likeliest = torch.empty_like(targets)
    room = torch.empty(min(count, len(targets)), len(weight), device=hidden.device)  # once, or memory goes to pieces
    with torch.autocast(hidden.device.type, enabled=False):
        for begin in range(0, len(targets), count):
            some = slice(begin, begin + count)
            logits = room[: len(targets[some])].copy_(linear(hidden[some], weight, bias))
            highest, likeliest[some] = logits.max(-1)
            right = logits.gather(1, targets[some, None])[:, 0]
            losses[some] = logits.sub_(highest[:, None]).exp_().sum(-1).log() + (highest - right)
    return losses.sum(), likeliest


def _alike(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """In the type of autocast where that is on, else in that of the hidden states."""
    device = hidden.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    return hidden.to(kind), weight.to(kind), None if bias is None else bias.to(kind)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        shares = _softmax(linear(hidden, weight, bias))  # [K, V]
        places = torch.arange(len(targets), device=targets.device)
        right = shares[places, targets].float()
        shares[places, targets] = 0
        others = shares.sum(-1)  # added up in fp32 and rounded once; 1 - right would have lost a small rest
        if torch.is_grad_enabled() or any(ctx.needs_input_grad):
            shares[places, targets] = -others
            ctx.save_for_backward(hidden, weight, shares)
        ctx.biased = bias is not None
        likely = torch.log1p(-others.float().clamp_max(0.75))  # clamped where it is not taken
        unlikely = right.clamp_min(torch.finfo(torch.float32).tiny).log()
        return -torch.where(right > 0.5, likely, unlikely).sum()

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> Any:
        hidden, weight, shares = ctx.saved_tensors
        scale = grad_loss.to(hidden.dtype)  # put on the small side of each product
        grad_hidden = (shares @ weight) * scale
        grad_weight = shares.T @ (hidden * scale)
        grad_bias = (shares.sum(0) * scale) if ctx.biased else None
        return grad_hidden, grad_weight, grad_bias, None


def _softmax(logits: Tensor) -> Tensor:
    """Over the last dimension; on a CPU in the same memory, which its kernel reads before it writes, row by row."""
    return torch.softmax(logits, -1, out=logits) if logits.device.type == "cpu" else logits.softmax(-1)
