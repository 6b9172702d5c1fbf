"""The layout of one batch's sequences for attention: worked out once on the host, used by every
layer.

Shape legend: B sequences, T tokens of all of them, n rows of a bucket, L tokens of its longest row.
"""

from functools import cached_property

import torch
from torch import Tensor

from src.core.batch import Tokens
from src.model.attention.attention_blocks import AttentionBlocks
from src.model.attention.attention_bucket import Bucket, attention_bias, round_up

# The fixed cost of one more product on a CPU, counted in scores of one head: those of a text of 75
# tokens.
_BUCKET_COST = 75 * 75
# On a CPU, rows of different lengths are padded to a multiple of this: oneDNN compiles and keeps a
# kernel for every new shape.
ROW_LENGTH_MULTIPLE = 16


class RaggedLayout:
    """The buckets of one batch. Attention is exact in all layouts; they differ in how much padding
    it computes for nothing.

    Full rows make one bucket, whatever lies in them. Texts of different lengths are cut into
    buckets of neighbours on a CPU, as many as save more padding than they cost (batches come sorted
    by length); elsewhere they make one bucket.

    Args:
        is_causal: a token looks at none of its sequence that comes after it.
    """

    def __init__(self, tokens: Tokens, *, is_causal: bool = False) -> None:
        self.tokens, self.is_causal = tokens, is_causal
        # a row may hold several sequences
        self.is_packed = tokens.row_tokens > 0
        self._attention_biases: dict[tuple[int, int | None, torch.dtype], Tensor | None] = {}
        self._attention_blocks: dict[tuple[int, int | None, torch.dtype], AttentionBlocks] = {}
        total = len(tokens.ids)
        row_length = tokens.row_tokens or tokens.max_seqlen
        if self.is_packed or tokens.num_sequences * row_length == total:
            sequences = self._number_sequences(row_length)
            bucket = Bucket(0, total, total // row_length, row_length, None, sequences=sequences)
            self.buckets = [bucket._replace(is_causal=is_causal)]
            return
        lengths = tokens.cu_seqlens.diff()
        if tokens.ids.device.type != "cpu":
            bucket = _build_ragged_bucket(0, total, lengths.long(), tokens.max_seqlen, tokens)
            self.buckets = [bucket._replace(is_causal=is_causal)]
            return
        known_lengths: list[int] = lengths.tolist()
        self.buckets, first, begin = [], 0, 0
        for last in find_bucket_ends(known_lengths):
            longest = round_up(max(known_lengths[first:last]), ROW_LENGTH_MULTIPLE)
            end = begin + sum(known_lengths[first:last])
            bucket = _build_ragged_bucket(begin, end, lengths[first:last].long(), longest, tokens)
            self.buckets.append(bucket._replace(is_causal=is_causal))
            first, begin = last, end

    def _number_sequences(self, length: int) -> Tensor | None:
        """The sequence of each token of full rows [n, L]; None if each row holds one."""
        tokens = self.tokens
        if tokens.num_sequences * length == len(tokens.ids):
            return None
        lengths = tokens.cu_seqlens.diff().long()
        return torch.repeat_interleave(lengths, output_size=len(tokens.ids)).view(-1, length)

    @property
    def longest_row(self) -> int:
        """L of the bucket with the longest rows."""
        return max(bucket.row_length for bucket in self.buckets)

    @cached_property
    def first_token_indices(self) -> Tensor:
        """[B]: index of each sequence's first token in the flat batch."""
        return self.tokens.cu_seqlens[:-1].long()

    def find_row_positions(self, at: Tensor | str | None) -> Tensor | None:
        """Positions of the wanted tokens in their rows [K], if every row has the same number of
        them; None if not, or if that is not known. On a GPU it is never known: to ask would be to
        wait.

        Args:
            at: as for `select_tokens`.
        """
        if isinstance(at, str):
            return None if self.is_packed else torch.zeros_like(self.first_token_indices)
        if (
            at is None
            or at.device.type != "cpu"
            or len(self.buckets) > 1
            or self.buckets[0].padded_indices is not None
        ):
            return None
        (bucket,) = self.buckets
        rows = at // bucket.row_length
        if len(at) == 0 or len(at) % bucket.num_rows:
            return None
        per_row = len(at) // bucket.num_rows
        is_even = torch.equal(rows, torch.arange(bucket.num_rows).repeat_interleave(per_row))
        return at % bucket.row_length if is_even else None

    def select_tokens(self, at: Tensor | str | None, *states: Tensor) -> tuple[Tensor, ...]:
        """Some tokens of each of the states [T, ...].

        Args:
            at: positions [K] in the flat batch; "first" for the first token of each sequence; None
                for all tokens.
        """
        if at is None:
            return states
        indices = self.first_token_indices if isinstance(at, str) else at
        return tuple(state.index_select(0, indices) for state in states)

    def get_attention_bias(self, number: int, window: int | None, like: Tensor) -> Tensor | None:
        """The term that is added to all scores of a bucket [1 or n, 1, 1 or L, L]; None if a token
        may look anywhere.

        Args:
            number: of the bucket.
            window: as for `ragged_attention`.
            like: a tensor of the type and device of the scores.
        """
        key = (number, window, like.dtype)
        if key not in self._attention_biases:
            bucket = self.buckets[number]
            positions = torch.arange(bucket.row_length, device=like.device)[None]
            allowed = bucket.build_attention_mask(
                window, rows=slice(None), positions=positions, keys=slice(None)
            )
            self._attention_biases[key] = attention_bias(allowed, like.dtype)
        return self._attention_biases[key]

    def get_attention_blocks(
        self, number: int, window: int | None, like: Tensor
    ) -> AttentionBlocks:
        """The blocks that all scores of a bucket are computed in.

        Args:
            like: a tensor of the type of the scores. The rest as for `get_attention_bias`.
        """
        key = (number, window, like.dtype)
        if key not in self._attention_blocks:
            self._attention_blocks[key] = AttentionBlocks(self.buckets[number], window, like.dtype)
        return self._attention_blocks[key]


def mean_pool(states: Tensor, tokens: Tokens) -> Tensor:
    """Mean over the tokens of each sequence: [T, D] to [B, D]. Added up in fp32, returned in the
    type of the states.
    """
    lengths = tokens.cu_seqlens.diff().long()
    # [T]: number of the sequence that each token is of
    sequences = torch.repeat_interleave(lengths, output_size=len(states))
    sums = states.new_zeros(tokens.num_sequences, states.shape[1], dtype=torch.float32)
    sums = sums.index_add(0, sequences, states.float())
    return (sums / lengths.clamp_min(1)[:, None]).to(states.dtype)


def _build_ragged_bucket(
    begin: int, end: int, lengths: Tensor, row_length: int, tokens: Tokens
) -> Bucket:
    """A bucket of one sequence in each row, of `lengths` [n]."""
    num_rows = len(lengths)
    if num_rows * row_length == end - begin:
        return Bucket(begin, end, num_rows, row_length, None)
    # [end - begin]: the row that each token is in
    rows = torch.repeat_interleave(lengths, output_size=end - begin)
    padded_indices = rows * row_length + tokens.positions[begin:end]
    columns = torch.arange(row_length, device=lengths.device)
    return Bucket(begin, end, num_rows, row_length, padded_indices, columns < lengths[:, None])


def find_bucket_ends(lengths: list[int]) -> list[int]:
    """Where neighbours are divided into buckets, as the end of each bucket, so that the whole costs
    least.

    A bucket costs its scores, padding included, and a fixed price. Dynamic programming over the
    ends; a bucket whose padding already costs more than twice the price of a new one is not made
    longer.
    """
    best = [0.0] + [float("inf")] * len(lengths)
    came_from = [0] * (len(lengths) + 1)
    for first in range(len(lengths)):
        longest, scores_without_padding = 0, 0
        for last in range(first + 1, len(lengths) + 1):
            longest = max(longest, lengths[last - 1])
            scores_without_padding += lengths[last - 1] ** 2
            scores = (last - first) * longest**2
            if best[first] + _BUCKET_COST + scores < best[last]:
                best[last] = best[first] + _BUCKET_COST + scores
                came_from[last] = first
            if scores - scores_without_padding > 2 * _BUCKET_COST:
                break
    ends = [len(lengths)]
    while came_from[ends[-1]] > 0:
        ends.append(came_from[ends[-1]])
    return ends[::-1]
