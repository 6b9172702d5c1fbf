"""The scores of long rows on a CPU, cut into blocks of queries: what is held at a time does not
grow with the square of a row, and keys that no query of a block may look at are left out.

A block has all keys that its queries may look at, so that its softmax is whole. Keys are cut off
where a window ends, and in packed rows where the sequences of the queries end.

Shape legend: n rows, H heads, L tokens of a row, Q queries of a row; K keys of a block.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from src.model.attention.attention_bucket import Bucket, attention_bias, round_up

# Queries of a block: few enough that those of a local layer share most of their keys, and enough
# for a product at full rate.
_LOCAL_QUERIES = 128
_GLOBAL_QUERIES = 256
# Scores of a block that are held at a time: two megabytes in bf16.
_SCORES = 2**20
# From these on blocks are used, as measured: tokens of a row, windows that it holds, scores of all
# rows and heads.
_LOCAL_LENGTH, _LOCAL_WINDOWS, _LOCAL_SCORES = 512, 4, 2**21
_GLOBAL_LENGTH = 1024
# Up to so many scores of all rows and heads, weights are kept for the backward pass, which is
# faster. Those of more do not fit into a heap that is kept between steps.
_MOST_KEPT_SCORES = 2**24
_BF16_FORWARD_LENGTH = 256
# Keys are cut off at multiples of this: oneDNN compiles and keeps a kernel for every new shape.
_KEYS_MULTIPLE = 64


def prefer_blocks(bucket: Bucket, window: int | None, query: Tensor, *, has_backward: bool) -> bool:
    """True if a bucket's scores are computed in blocks, by shape and type alone: where that is
    faster than all at once and, without a backward pass, than torch's fused kernel.

    Scores that fit into a cache are computed at once. The fused kernel is slow in bf16, forms its
    mask for all scores, and does not leave out what a window hides.

    Args:
        query: [n, H, Q, E].
    """
    length = bucket.row_length
    scores = query.shape[:3].numel() * length
    if window is not None and length >= max(_LOCAL_LENGTH, _LOCAL_WINDOWS * window):
        return scores >= _LOCAL_SCORES
    if has_backward:
        return length >= _GLOBAL_LENGTH and scores > _MOST_KEPT_SCORES
    if query.dtype == torch.bfloat16:
        return length >= _BF16_FORWARD_LENGTH
    return bucket.sequences is not None and length >= _GLOBAL_LENGTH


def keep_weights(bucket: Bucket, query: Tensor) -> bool:
    """True if the weights of blocks are kept for the backward pass: where all at once would be."""
    return query.shape[:3].numel() * bucket.row_length <= _MOST_KEPT_SCORES


class Block(NamedTuple):
    """A part of the scores: its rows, queries and keys, and the term that is added to its scores
    [1 or n, 1, 1 or Q, K] (None: nothing); `heads` are so many as are computed at a time.
    """

    rows: slice
    queries: slice
    keys: slice
    bias: Tensor | None
    heads: int

    def cut_heads(self, total: int) -> Iterator[slice]:
        return cut(total, self.heads)


class AttentionBlocks:
    """The blocks of a bucket, anew for each iteration; the terms of local layers, which grow with a
    row and not with its square, are kept.

    Args:
        window: as for `ragged_attention`.
        dtype: of the scores.
        positions: [n, Q], of the queries in their rows, where only some tokens are to look.
    """

    def __init__(
        self,
        bucket: Bucket,
        window: int | None,
        dtype: torch.dtype,
        positions: Tensor | None = None,
    ) -> None:
        self._bucket = bucket
        self._window = window if window is not None and window < bucket.row_length else None
        self._dtype = dtype
        all_positions = torch.arange(bucket.row_length)[None]
        self._positions = all_positions if positions is None else positions
        # then blocks that lie alike in their rows have one term
        self._are_rows_alike = (
            positions is None and bucket.is_token is None and bucket.sequences is None
        )
        self._kept: list[Block] | None = None

    def __iter__(self) -> Iterator[Block]:
        if self._window is None:
            return self._plan()
        if self._kept is None:
            self._kept = list(self._plan())
        return iter(self._kept)

    def _plan(self) -> Iterator[Block]:
        length, count = self._bucket.row_length, self._positions.shape[1]
        size, reach = _GLOBAL_QUERIES, length
        if self._window is not None:
            size = _LOCAL_QUERIES
            reach = min(length, size + 2 * self._window)
        size = min(size, count)
        biases: dict[tuple[int, ...], Tensor | None] = {}
        for queries in cut(count, size):
            for rows in cut(self._bucket.num_rows, max(1, _SCORES // (size * reach))):
                yield self._build_block(rows, queries, biases)

    def _build_block(
        self, rows: slice, queries: slice, biases: dict[tuple[int, ...], Tensor | None]
    ) -> Block:
        bucket = self._bucket
        positions = self._positions[rows if len(self._positions) > 1 else slice(None), queries]
        keys = self._find_keys(rows, positions)
        size = (positions.shape[1], keys.stop - keys.start)
        place = (*size, int(positions[0, 0]) - keys.start)
        if self._are_rows_alike and place in biases:
            bias = biases[place]
        else:
            allowed = bucket.build_attention_mask(
                self._window, rows=rows, positions=positions, keys=keys
            )
            bias = attention_bias(allowed, self._dtype)
            if self._are_rows_alike:
                biases[place] = bias
        count = (rows.stop - rows.start) * size[0] * size[1]
        return Block(rows, queries, keys, bias, max(1, _SCORES // count))

    def _find_keys(self, rows: slice, positions: Tensor) -> slice:
        """The keys that some of these queries may look at, and few others."""
        length = self._bucket.row_length
        begin, end = 0, length
        if self._window is not None:
            begin = int(positions.min()) - self._window + 1
            end = int(positions.max()) + self._window
        if self._bucket.is_causal:
            end = min(end, int(positions.max()) + 1)
        if self._bucket.sequences is not None:
            sequences = self._bucket.sequences[rows]
            own = sequences.gather(1, positions.expand(len(sequences), -1))
            begin = max(begin, int((sequences < own.amin(1, keepdim=True)).sum(1).min()))
            end = min(end, int((sequences <= own.amax(1, keepdim=True)).sum(1).max()))
        begin = max(0, begin) // _KEYS_MULTIPLE * _KEYS_MULTIPLE
        return slice(begin, min(length, round_up(end, _KEYS_MULTIPLE)))


def cut(total: int, size: int) -> Iterator[slice]:
    """Neighbouring parts of at most `size`."""
    for begin in range(0, total, size):
        yield slice(begin, min(begin + size, total))
