"""The loss over a vocabulary, for the tokens that are asked for and with one copy of their logits.

Shape legend: K chosen tokens, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear


def vocabulary_loss(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Sum over K of the cross-entropy of softmax(hidden [K, D] @ weight.T [D, V] + bias [V]) with targets [K].

    Computed in the type of autocast where that is on. The probabilities take the logits' place and, less 1 at the
    targets, are the gradient already: nothing else of the size [K, V] is ever held, and none of it in fp32. Normalised
    in fp32 inside of the softmax; what is rounded is each probability, to the precision of the type.
    """
    device = hidden.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    with torch.autocast(device, enabled=False):
        shift = None if bias is None else bias.to(kind)
        return _Loss.apply(hidden.to(kind), weight.to(kind), shift, targets)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        shares = linear(hidden, weight, bias).softmax(-1)  # [K, V]
        places = torch.arange(len(targets), device=targets.device)
        right = shares[places, targets].float()
        if torch.is_grad_enabled() or any(ctx.needs_input_grad):
            shares[places, targets] -= 1
            ctx.save_for_backward(hidden, weight, shares)
        ctx.biased = bias is not None
        return -right.clamp_min(torch.finfo(torch.float32).tiny).log().sum()

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> Any:
        hidden, weight, shares = ctx.saved_tensors
        scale = grad_loss.to(hidden.dtype)  # put on the small side of each product
        grad_hidden = (shares @ weight) * scale
        grad_weight = shares.T @ (hidden * scale)
        grad_bias = (shares.sum(0) * scale) if ctx.biased else None
        return grad_hidden, grad_weight, grad_bias, None
