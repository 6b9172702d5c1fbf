"""Batches, as they travel from the data to the model.

Shape legend: B sequences, T real tokens of all sequences together (no padding anywhere), K masked positions.
A batch is flat: the tokens of its sequences stand one after the other, and `starts` says where each begins. Linear
layers then see real tokens only, and attention is told the borders (`src/model/attention.py`). A batch without targets
counts for nothing: it is what a rank works on that has no row in a global batch (`src/data/plan.py`).
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Tokens(NamedTuple):
    """Sequences laid end to end.

    For two sequences of 3 and 2 tokens: ids = [a b c d e], positions = [0 1 2 0 1], starts = [0 3 5], longest = 3.
    """

    ids: Tensor  # [T] int64
    positions: Tensor  # [T] int64, each sequence counts from 0
    types: Tensor  # [T] int64, 1 in the second text of a pair, else 0
    starts: Tensor  # [B + 1] int32, ends with T
    longest: int  # tokens of the longest sequence
    row: int = 0  # tokens of a packed row, where sequences lie in rows of one length; 0 where they do not

    @property
    def count(self) -> int:  # type: ignore[override]
        """Sequences in the batch."""
        return len(self.starts) - 1


class Batch(Protocol):
    """What every batch has, whatever the task."""

    @property
    def tokens(self) -> Tokens: ...


class MaskedBatch(NamedTuple):
    """Text with some tokens replaced, and what stood there. No sentinel: positions are indices into the flat tokens."""

    tokens: Tokens
    masked: Tensor  # [K] int64
    targets: Tensor  # [K] int64


class LabelledBatch(NamedTuple):
    """Texts with one label each: a class index (int64) or a value (float32)."""

    tokens: Tokens
    labels: Tensor  # [B]
    rows: Tensor  # [B] int64, row ids of the data set: what a prediction is filed under


def lay_out(ids: Tensor, lengths: Tensor, types: Tensor | None = None, row: int = 0) -> Tokens:
    """Flat ids [T] and the length of each sequence [B] as `Tokens`."""
    starts = torch.zeros(len(lengths) + 1, dtype=torch.int32)
    starts[1:] = lengths.cumsum(0)
    positions = torch.arange(len(ids)) - torch.repeat_interleave(starts[:-1].long(), lengths)
    types = torch.zeros_like(ids) if types is None else types
    return Tokens(ids, positions, types, starts, int(lengths.max()), row)
