"""Rotary positions (Su et al., 2021, section 3.2.2)."""

import torch
from torch import Tensor


def apply_rotary(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """States [..., E] with each pair (i, i + E / 2) rotated, computed in fp32.

    Args:
        cos, sin: of the angles, [..., E / 2].
    """
    first, second = states.float().chunk(2, -1)
    rotated = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
    return rotated.to(states.dtype)
