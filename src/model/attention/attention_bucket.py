"""Rows of one length whose attention is computed together, and which of their tokens may look at
which.

Shape legend: n rows, L tokens of a row; Q queries and K keys of a block of its scores.
"""

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor


class Bucket(NamedTuple):
    """Neighbouring tokens whose attention is computed as one rectangle [n, L]."""

    # the first of the flat tokens, and the one after the last
    begin: int
    end: int
    # n and L
    num_rows: int
    row_length: int
    # [end - begin]: index of each token among the n * L of the rectangle; None if rows are full
    padded_indices: Tensor | None
    # [n, L]: false for padding; None if rows are full
    is_token: Tensor | None = None
    # [n, L]: number of the sequence that each token is of, rising; None if rows hold one each
    sequences: Tensor | None = None
    # a token looks at none that comes after it
    is_causal: bool = False

    def pad_rows(self, flat: Tensor) -> Tensor:
        """[end - begin, ...] to [n, L, ...]: a view if rows are full, else padded with zeros."""
        if self.padded_indices is not None:
            zeros = flat.new_zeros(self.num_rows * self.row_length, *flat.shape[1:])
            flat = zeros.index_copy_(0, self.padded_indices, flat)
        return flat.unflatten(0, (self.num_rows, self.row_length))

    def unpad_rows(self, rows: Tensor) -> Tensor:
        """[n, L, ...] to [end - begin, ...], without the padding."""
        flat = rows.flatten(0, 1)
        return flat if self.padded_indices is None else flat.index_select(0, self.padded_indices)

    def build_attention_mask(
        self,
        window: int | None,
        *,
        rows: slice,
        positions: Tensor,
        keys: slice,
    ) -> Tensor | None:
        """Where queries may look among some keys of their rows: [1 or n, 1, 1 or Q, K]; None if
        anywhere.

        Args:
            window: as for `ragged_attention`.
            rows: n of them.
            positions: [1 or n, Q], of the queries in their rows.
            keys: K of them, without a step.
        """
        masks = []
        if self.is_token is not None:
            masks.append(self.is_token[rows, None, None, keys])
        if self.sequences is not None:
            sequences = self.sequences[rows]
            own = sequences.gather(1, positions.expand(len(sequences), -1))
            masks.append(own[:, None, :, None] == sequences[:, None, None, keys])
        if self.is_causal or (window is not None and window < self.row_length):
            places = torch.arange(self.row_length, device=positions.device)[keys]
            # [1 or n, Q, K]: how far behind the query a key stands
            behind = positions[..., None] - places
            if self.is_causal:
                masks.append((behind >= 0)[:, None])
            if window is not None and window < self.row_length:
                masks.append((behind.abs() < window)[:, None])
        return reduce(torch.logical_and, masks) if masks else None


def attention_bias(allowed: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The term that is added to scores: 0 where a token may look, the lowest number elsewhere.

    The lowest number and not -inf: padding that is far from every token has nothing to look at,
    and would become NaN.
    """
    if allowed is None:
        return None
    bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return bias.masked_fill_(~allowed, torch.finfo(dtype).min)


def round_up(count: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `count`."""
    return -(-count // multiple) * multiple
