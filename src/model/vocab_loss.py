"""The cross-entropy over a vocabulary for chosen tokens, with at most one copy of their logits in
memory.

Shape legend: K chosen tokens, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

# for held-out tokens: 32 MB in fp32, and twice as fast on a CPU as all tokens together
_MAX_LOGITS_PER_CHUNK = 2**23


def vocabulary_loss(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Sum over K of the cross-entropy of softmax(hidden [K, D] @ weight.T [D, V] + bias [V]) with
    targets [K].

    Computed in autocast's type where autocast is on. The probabilities take the place of the
    logits and, less 1 at the targets, they are the gradient already: nothing else of the size
    [K, V] is kept, and nothing of it in fp32. The softmax normalises in fp32 and then rounds each
    probability to the type. The distance of a target's probability from 1 is computed as the sum of
    the others, so that a confident prediction keeps its loss and its gradient.

    A target whose probability is 0 in fp32 counts with a loss of 87.3; its gradient is exact.
    """
    factors = _cast_to_compute_dtype(hidden, weight, bias)
    with torch.autocast(hidden.device.type, enabled=False):
        return _VocabularyLoss.apply(*factors, targets)


@torch.no_grad()
def vocabulary_losses_and_predictions(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """For held-out tokens: the losses [K] in fp32 whose sum `vocabulary_loss` gives, and the
    likeliest token of each [K].

    Computed for some tokens at a time, whose logits are converted to fp32: exact to the precision
    of the logits, and without a gradient.
    """
    hidden, weight, bias = _cast_to_compute_dtype(hidden, weight, bias)
    count = max(1, _MAX_LOGITS_PER_CHUNK // len(weight))
    losses = torch.empty(len(targets), device=hidden.device)
    likeliest = torch.empty_like(targets)
    # allocated once: a new one for each chunk would fragment the memory
    buffer = torch.empty(min(count, len(targets)), len(weight), device=hidden.device)
    with torch.autocast(hidden.device.type, enabled=False):
        for begin in range(0, len(targets), count):
            chunk = slice(begin, begin + count)
            logits = buffer[: len(targets[chunk])].copy_(linear(hidden[chunk], weight, bias))
            highest, likeliest[chunk] = logits.max(-1)
            target_logits = logits.gather(1, targets[chunk, None])[:, 0]
            log_sums = logits.sub_(highest[:, None]).exp_().sum(-1).log()
            losses[chunk] = log_sums + (highest - target_logits)
    return losses, likeliest


def _cast_to_compute_dtype(
    hidden: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """All three in autocast's type where autocast is on, else in the type of the hidden states."""
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    return hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


class _VocabularyLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> Tensor:
        probabilities = _softmax_in_place(linear(hidden, weight, bias))  # [K, V]
        rows = torch.arange(len(targets), device=targets.device)
        of_target = probabilities[rows, targets].float()
        probabilities[rows, targets] = 0
        # added up in fp32 and rounded once; 1 - of_target would lose a small rest
        of_others = probabilities.sum(-1)
        if torch.is_grad_enabled() or any(ctx.needs_input_grad):
            probabilities[rows, targets] = -of_others
            ctx.save_for_backward(hidden, weight, probabilities)
        ctx.has_bias = bias is not None
        # clamped where it is not taken
        log_if_likely = torch.log1p(-of_others.float().clamp_max(0.75))
        log_if_unlikely = of_target.clamp_min(torch.finfo(torch.float32).tiny).log()
        return -torch.where(of_target > 0.5, log_if_likely, log_if_unlikely).sum()

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> Any:
        hidden, weight, grad_logits = ctx.saved_tensors
        # multiplied with the smaller side of each product
        scale = grad_loss.to(hidden.dtype)
        grad_hidden = (grad_logits @ weight) * scale
        grad_weight = grad_logits.T @ (hidden * scale)
        grad_bias = (grad_logits.sum(0) * scale) if ctx.has_bias else None
        return grad_hidden, grad_weight, grad_bias, None


def _softmax_in_place(logits: Tensor) -> Tensor:
    """Softmax over the last dimension. On a CPU in the same memory: its kernel reads each row
    before it writes it.
    """
    if logits.device.type == "cpu":
        return torch.softmax(logits, -1, out=logits)
    return logits.softmax(-1)
