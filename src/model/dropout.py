"""Dropout (Srivastava et al., 2014) whose random numbers cost little on a CPU.

torch draws one number for each element there, on one thread: 7 ns an element, more than the matrix product before it
in a small encoder. Four elements share the 64 bits of one number here; the share dropped is right to 1 in 65,536.
"""

import torch
from torch import Tensor, nn

_STEPS = 2**16  # what 16 random bits tell apart


def kept(like: Tensor, share: float) -> Tensor:
    """What to multiply by: 0 for the `share` that is dropped, 1 / (1 - share) for the rest; in the form of `like`."""
    if like.device.type != "cpu":
        return nn.functional.dropout(torch.ones_like(like), share)
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    threshold = round(share * _STEPS) - _STEPS // 2
    stays = words.view(torch.int16)[: like.numel()] >= threshold
    return stays.to(like.dtype).mul_(_STEPS / (_STEPS - round(share * _STEPS))).view(like.shape)


def dropout(states: Tensor, module: nn.Module) -> Tensor:
    """What an `nn.Dropout` (or `nn.Identity`) does to states of any shape."""
    share = getattr(module, "p", 0.0)
    if not module.training or not share:
        return states
    return states * kept(states, share) if states.device.type == "cpu" else nn.functional.dropout(states, share)
