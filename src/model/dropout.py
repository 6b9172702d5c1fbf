"""Dropout (Srivastava et al., 2014) whose random numbers cost little on a CPU.

torch draws one number for each element there, on one thread: 7 ns an element, more than the matrix product before it
in a small encoder. Here four elements share the 64 bits of one number, and what is dropped is blanked bit by bit, at a
fifth of that. The share dropped is right to 1 in 32,768, so that one just below 1 drops everything.
"""

from typing import Any

import torch
from torch import Tensor, nn

_STEPS = 2**15  # what 15 random bits tell apart; the sixteenth holds the sign of a difference
_WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # whole numbers as wide as a float of so many bytes


def kept(like: Tensor, share: float) -> Tensor:
    """Bits to keep of each element of `like`: none for the `share` that is dropped, all for the rest."""
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    drawn = words.view(torch.int16)[: like.numel()].bitwise_and_(_STEPS - 1)
    below = drawn.neg_().add_(round(share * _STEPS) - 1)  # negative where the number drawn is not below the share
    return below.bitwise_right_shift_(15).to(_WHOLE[like.itemsize]).view(like.shape)


def masked(states: Tensor, keep: Tensor) -> Tensor:
    """States with what is dropped set to 0; not scaled, see `scale`."""
    return (states.view(keep.dtype) & keep).view(states.dtype)


def scale(share: float) -> float:
    """What the rest is multiplied by, so that the mean stays; 0 where nothing is left."""
    left = _STEPS - round(share * _STEPS)
    return _STEPS / left if left else 0.0


def dropout(states: Tensor, module: nn.Module) -> Tensor:
    """What an `nn.Dropout` (or `nn.Identity`) does to states of any shape."""
    share = getattr(module, "p", 0.0)
    if not module.training or not share:
        return states
    return dropped(states, share)


def dropped(states: Tensor, share: float) -> Tensor:
    """States with so large a share set to 0 at random, the rest scaled."""
    if states.device.type != "cpu":
        return nn.functional.dropout(states, share)
    return _Dropout.apply(states, share)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, share: float) -> Tensor:
        keep = kept(states, share)
        ctx.save_for_backward(keep)
        ctx.share = share
        return masked(states, keep).mul_(scale(share))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (keep,) = ctx.saved_tensors
        return masked(grad, keep).mul_(scale(ctx.share)), None
