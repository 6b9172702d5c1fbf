"""How the sequences of one batch lie: worked out once on the host, used by every layer's attention.

Shape legend: B sequences, T tokens of all of them, n rows of a bucket, L tokens of its longest row.
"""

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from src.terms.batch import Tokens

# What starting one more product costs on a CPU, in scores of one head: about a text of 75 tokens.
_BUCKET_COST = 75 * 75
# A CPU's rows of different lengths are made a multiple of this: oneDNN compiles and keeps a kernel for every new shape.
GRAIN = 16


class Bucket(NamedTuple):
    """Neighbouring tokens whose attention is computed as one rectangle [n, L]."""

    begin: int  # of the flat tokens
    end: int
    count: int  # type: ignore[assignment]  # n; tuples have a method of that name
    length: int  # L
    slots: Tensor | None  # [end - begin]: place of each token among n * L; None where the rows are full
    allowed: Tensor | None  # [n, 1, 1 or L, L]: true where a token may look; None where it may anywhere

    def rows(self, flat: Tensor) -> Tensor:
        """[end - begin, ...] to [n, L, ...]: a view where rows are full, else tokens among zeros."""
        if self.slots is not None:
            flat = flat.new_zeros(self.count * self.length, *flat.shape[1:]).index_copy_(0, self.slots, flat)
        return flat.unflatten(0, (self.count, self.length))

    def flat(self, rows: Tensor) -> Tensor:
        """[n, L, ...] to [end - begin, ...], without the padding."""
        tokens = rows.flatten(0, 1)
        return tokens if self.slots is None else tokens.index_select(0, self.slots)


class Layout:
    """The buckets of one batch. All ways are exact; they differ in how much padding attention computes for nothing.

    Full rows make one bucket, whatever lies in them. Texts of different lengths are cut into buckets of neighbours on a
    CPU, as few as padding allows (batches come sorted by length); elsewhere they make one bucket.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.in_rows = tokens.row > 0  # a row may hold several sequences
        total, device = len(tokens.ids), tokens.ids.device
        if tokens.row or tokens.count * tokens.longest == total:
            length = tokens.row or tokens.longest
            self.buckets = [Bucket(0, total, total // length, length, None, self._borders(length))]
        else:
            lengths = tokens.starts.diff()
            plain: list[int] = lengths.tolist() if device.type == "cpu" else []
            ends = cuts(plain) if plain else [tokens.count]
            self.buckets, first, begin = [], 0, 0
            for last in ends:
                longest = rounded(max(plain[first:last]), GRAIN) if plain else tokens.longest
                end = begin + sum(plain[first:last]) if plain else total
                self.buckets.append(_ragged(begin, end, lengths[first:last].long(), longest, tokens))
                first, begin = last, end
        self._biases: dict[tuple[int, int | None, torch.dtype], Tensor | None] = {}

    def _borders(self, length: int) -> Tensor | None:
        """Of full rows: none where each holds one sequence."""
        tokens = self.tokens
        if tokens.count * length == len(tokens.ids):
            return None
        lengths = tokens.starts.diff().long()
        rows = torch.repeat_interleave(lengths, output_size=len(tokens.ids)).view(-1, length)  # which sequence
        return rows[:, None, :, None] == rows[:, None, None, :]

    @cached_property
    def firsts(self) -> Tensor:
        """[B]: each sequence's first token among the flat ones."""
        return self.tokens.starts[:-1].long()

    def places(self, at: Tensor | str | None) -> Tensor | None:
        """Places in their rows [K] of tokens wanted, where every row has as many of them; None where not, or unknown.

        Not asked on a GPU, which would have to be waited for.
        """
        if isinstance(at, str):
            return None if self.in_rows else torch.zeros_like(self.firsts)
        if at is None or at.device.type != "cpu" or len(self.buckets) > 1 or self.buckets[0].slots is not None:
            return None
        (bucket,) = self.buckets
        rows = at // bucket.length
        if len(at) == 0 or len(at) % bucket.count:
            return None
        even = torch.equal(rows, torch.arange(bucket.count).repeat_interleave(len(at) // bucket.count))
        return at % bucket.length if even else None

    def wanted(self, at: Tensor | str | None, *states: Tensor) -> tuple[Tensor, ...]:
        """Each of the states [T, ...] at places [K], at each sequence's first token (a word), or as it is (None)."""
        if at is None:
            return states
        places = self.firsts if isinstance(at, str) else at
        return tuple(each.index_select(0, places) for each in states)

    def bias(self, place: int, window: int | None, like: Tensor) -> Tensor | None:
        """What is added to the scores of a bucket: 0 where one may look, else the lowest number; None where all may.

        The lowest number and not -inf: padding far from every token has nothing to look at, and would be NaN.
        """
        key = (place, window, like.dtype)
        if key not in self._biases:
            bucket = self.buckets[place]
            allowed = bucket.allowed
            if window is not None and window < bucket.length:
                close = near(bucket.length, window, like.device)
                allowed = close if allowed is None else allowed & close
            self._biases[key] = None
            if allowed is not None:
                lowest = torch.finfo(like.dtype).min
                self._biases[key] = like.new_zeros(allowed.shape).masked_fill_(~allowed, lowest)
        return self._biases[key]


def means(states: Tensor, tokens: Tokens) -> Tensor:
    """Mean over the tokens of each sequence, added up in fp32: [T, D] to [B, D], in the type of the states."""
    lengths = tokens.starts.diff().long()
    sequence = torch.repeat_interleave(lengths, output_size=len(states))  # [T]: which one a token is of
    sums = states.new_zeros(tokens.count, states.shape[1], dtype=torch.float32)
    sums = sums.index_add(0, sequence, states.float())
    return (sums / lengths.clamp_min(1)[:, None]).to(states.dtype)


def rounded(count: int, grain: int) -> int:
    """The next multiple."""
    return -(-count // grain) * grain


def _ragged(begin: int, end: int, lengths: Tensor, longest: int, tokens: Tokens) -> Bucket:
    count = len(lengths)
    if count * longest == end - begin:
        return Bucket(begin, end, count, longest, None, None)
    row = torch.repeat_interleave(lengths, output_size=end - begin)  # [end - begin]: which row a token is of
    place = torch.arange(longest, device=lengths.device)
    allowed = (place < lengths[:, None])[:, None, None, :]
    return Bucket(begin, end, count, longest, row * longest + tokens.positions[begin:end], allowed)


def cuts(lengths: list[int]) -> list[int]:
    """Where neighbours are divided into buckets, as the end of each, so that the whole costs least.

    A bucket costs its scores, padding included, and a fixed price. Dynamic programming over the ends; a bucket whose
    padding has already cost more than the price of a new one is not made longer.
    """
    best = [0.0] + [float("inf")] * len(lengths)
    came_from = [0] * (len(lengths) + 1)
    for first in range(len(lengths)):
        longest, needed = 0, 0
        for last in range(first + 1, len(lengths) + 1):
            longest = max(longest, lengths[last - 1])
            needed += lengths[last - 1] ** 2
            scores = (last - first) * longest**2
            if best[first] + _BUCKET_COST + scores < best[last]:
                best[last] = best[first] + _BUCKET_COST + scores
                came_from[last] = first
            if scores - needed > 2 * _BUCKET_COST:
                break
    ends = [len(lengths)]
    while came_from[ends[-1]] > 0:
        ends.append(came_from[ends[-1]])
    return ends[::-1]


def near(length: int, window: int, device: torch.device) -> Tensor:
    """[1, 1, L, L] true where |i - j| < window: what transformers calls a bidirectional sliding window."""
    place = torch.arange(length, device=device)
    return ((place[:, None] - place[None, :]).abs() < window)[None, None]
