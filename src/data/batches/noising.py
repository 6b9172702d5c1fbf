"""Noise that a denoising autoencoder is to undo, as a pure function of (seed, epoch, row).

All rows of a batch are made at once, laid end to end; nothing here has a state.

Shape legend: R rows, N tokens of all rows, S spans of all rows, V vocabulary.
"""

import functools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from src.data.splitmix import GOLDEN_GAMMA, derive_key, finalize_splitmix64

_40 = np.uint64(40)
# which numbers a row's key is asked for
_SENTENCES, _LENGTHS, _GAPS, _DELETIONS = 1, 2, 3, 4


class NoiseParams(NamedTuple):
    """The settings of noise for one split."""

    seed: int
    # what is to be written: the whole text, or what is missing in it
    target: Literal["text", "spans"]
    # of a row's tokens that lie in spans, and that are left out beside these
    noise_fraction: float
    deletion_fraction: float
    mean_span_tokens: float
    # [V] true for tokens that end a sentence; None: sentences stay where they are
    sentence_ends: np.ndarray | None
    # what stands for a span: one token for all, or one for the first, the second, ...
    stand_ins: np.ndarray
    # the special tokens before and behind a text
    frame: tuple[np.ndarray, np.ndarray]


class Spans(NamedTuple):
    """Runs of tokens that one token stands for; those of no token are where one is put in."""

    owners: np.ndarray  # [S] the row of each, ascending
    begins: np.ndarray  # [S] in the row
    lengths: np.ndarray  # [S]


class NoisedRows(NamedTuple):
    """Noised texts and what is to be written for each, with their special tokens."""

    ids: np.ndarray
    lengths: np.ndarray  # [R]
    targets: np.ndarray
    target_lengths: np.ndarray  # [R]
    # for each of the targets: whether it is a token of the text that the noised one lacks
    is_missing: np.ndarray


def noise_rows(
    ids: np.ndarray, lengths: np.ndarray, rows: np.ndarray, epoch: int, noise: NoiseParams
) -> NoisedRows:
    """Put sentences into another order, leave tokens out, and put one token for each of some spans
    (Lewis et al., 2020, section 2.2; Raffel et al., 2020, section 3.1.4).

    Args:
        ids: [N] int64, the texts without their special tokens, end to end.
        lengths: [R] their tokens.
        rows: [R], the numbers that make each row's noise its own.
    """
    keys = finalize_splitmix64(
        derive_key(noise.seed, epoch) + rows.astype(np.uint64) * GOLDEN_GAMMA
    )
    owners = np.arange(len(rows)).repeat(lengths)
    places = number_within(lengths)
    # where each token of the noised text stands in the text
    order = np.arange(len(ids))
    if noise.sentence_ends is not None:
        order = order_sentences(noise.sentence_ends[ids], lengths, keys)
    spans = draw_spans(lengths, keys, noise)
    firsts = lengths.cumsum() - lengths
    in_spans = (firsts[spans.owners] + spans.begins).repeat(spans.lengths)
    in_spans = in_spans + number_within(spans.lengths)
    is_kept = np.ones(len(ids), dtype=bool)
    is_kept[in_spans] = False
    spans_per_row = np.bincount(spans.owners, minlength=len(rows))
    if noise.deletion_fraction:
        is_kept[choose_deletions(is_kept, lengths, spans_per_row, keys, noise)] = False
    numbers = number_within(spans_per_row)
    stand_ins = noise.stand_ins[numbers if noise.target == "spans" else np.zeros_like(numbers)]
    noised = ids[order]
    layout = RowLayout(len(rows), int(lengths.max(initial=0)), noise.frame)
    source = layout.lay(
        [
            (noised[is_kept], owners[is_kept], 2 * places[is_kept] + 1),
            (stand_ins, spans.owners, 2 * spans.begins),
        ]
    )
    if noise.target == "spans":
        ends = np.arange(len(rows))
        target = layout.lay(
            [
                (noised[in_spans], owners[in_spans], 2 * places[in_spans] + 1),
                (stand_ins, spans.owners, 2 * spans.begins),
                # behind the last span
                (noise.stand_ins[spans_per_row], ends, np.full(len(rows), layout.end)),
            ]
        )
        is_missing = target.from_part == 0
    else:
        target = layout.lay([(ids, owners, 2 * places + 1)])
        lacking = np.zeros(len(ids), dtype=bool)
        lacking[order[~is_kept]] = True
        is_missing = target.from_part == 0
        is_missing[is_missing] = lacking
    return NoisedRows(source.values, source.lengths, target.values, target.lengths, is_missing)


def order_sentences(ends_here: np.ndarray, lengths: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The places [N] of the tokens when each row's sentences are put into an order of chance.

    A sentence ends with its last full stop, of several in a row, or with the row.

    Args:
        ends_here: [N] true for full stops.
    """
    owners = np.arange(len(lengths)).repeat(lengths)
    begins = np.ones(len(owners), dtype=bool)
    begins[1:] = (ends_here[:-1] & ~ends_here[1:]) | (owners[1:] != owners[:-1])
    sentences = begins.cumsum() - 1
    counts = np.bincount(owners[begins], minlength=len(lengths))
    words = draw_words(keys, _SENTENCES, counts)
    return np.lexsort((words[sentences], owners))


def draw_spans(lengths: np.ndarray, keys: np.ndarray, noise: NoiseParams) -> Spans:
    """Spans that hold a fixed number of each row's tokens, with at least one other between two.

    Where the whole text is to be written, their lengths are of a Poisson distribution, so that some
    hold nothing; else their number is fixed, and every division is as likely.
    """
    wanted = np.rint(noise.noise_fraction * lengths).astype(np.int64)
    wanted = np.minimum(np.maximum(wanted, noise.noise_fraction > 0), lengths)
    # where a span may stand: before each of the other tokens, or behind the last
    gaps = lengths - wanted + 1
    draw = divide_into_spans if noise.target == "spans" else draw_poisson_lengths
    owners, sizes = draw(wanted, gaps, keys, noise.mean_span_tokens)
    per_row = np.bincount(owners, minlength=len(lengths))
    chosen = choose_lowest(draw_words(keys, _GAPS, gaps), gaps, per_row)
    passed = sizes.cumsum() - sizes - (wanted.cumsum() - wanted)[owners]
    return Spans(owners, number_within(gaps)[chosen] + passed, sizes)


def draw_poisson_lengths(
    wanted: np.ndarray, gaps: np.ndarray, keys: np.ndarray, mean: float
) -> tuple[np.ndarray, np.ndarray]:
    """The row and the length of each span, drawn until a row has the wanted tokens in spans; its
    last one is cut to these, or longer where there is no place for another.
    """
    shares = (draw_words(keys, _LENGTHS, wanted) >> _40).astype(np.float64) / 2**24
    sizes = find_poisson_ends(mean).searchsorted(shares, side="right")
    owners = np.arange(len(wanted)).repeat(wanted)
    passed = sizes.cumsum() - sizes
    passed -= passed[(wanted.cumsum() - wanted).repeat(wanted)]
    is_used = (passed < wanted[owners]) & (number_within(wanted) < gaps[owners])
    owners, sizes, passed = owners[is_used], sizes[is_used], passed[is_used]
    sizes = np.minimum(sizes, wanted[owners] - passed)
    found = np.bincount(owners, sizes, minlength=len(wanted)).astype(np.int64)
    last = np.flatnonzero(np.diff(owners, append=len(wanted)))
    sizes[last] += (wanted - found)[owners[last]]
    return owners, sizes


def divide_into_spans(
    wanted: np.ndarray, gaps: np.ndarray, keys: np.ndarray, mean: float
) -> tuple[np.ndarray, np.ndarray]:
    """The row and the length of each span, where the wanted tokens make so many of them that they
    have the mean length.
    """
    counts = np.maximum(np.rint(wanted / mean).astype(np.int64), 1)
    counts = np.minimum(counts, np.minimum(wanted, gaps))
    borders = np.maximum(wanted - 1, 0)
    cuts = choose_lowest(draw_words(keys, _LENGTHS, borders), borders, counts - 1)
    firsts = wanted.cumsum() - wanted
    begins = np.concatenate(
        (firsts[wanted > 0], firsts.repeat(borders)[cuts] + number_within(borders)[cuts] + 1)
    )
    begins.sort()
    owners = np.arange(len(wanted)).repeat(wanted)[begins]
    return owners, np.diff(begins, append=wanted.sum())


def choose_deletions(
    is_kept: np.ndarray,
    lengths: np.ndarray,
    spans_per_row: np.ndarray,
    keys: np.ndarray,
    noise: NoiseParams,
) -> np.ndarray:
    """The places of tokens outside of spans that are left out; a row keeps one token at least."""
    others = np.flatnonzero(is_kept)
    counts = np.bincount(np.arange(len(lengths)).repeat(lengths)[others], minlength=len(lengths))
    wanted = np.rint(noise.deletion_fraction * lengths).astype(np.int64)
    wanted = np.minimum(wanted, counts - (spans_per_row == 0))
    return others[choose_lowest(draw_words(keys, _DELETIONS, counts), counts, wanted)]


class LaidRows(NamedTuple):
    """Rows that were put together from several parts."""

    values: np.ndarray
    lengths: np.ndarray  # [R]
    from_part: np.ndarray  # the part that each value is of; special tokens count from behind


class RowLayout:
    """Puts rows together, with special tokens around them.

    Args:
        longest: the length of the longest row.
        frame: the special tokens before and behind a text.
    """

    def __init__(self, num_rows: int, longest: int, frame: tuple[np.ndarray, np.ndarray]) -> None:
        self._num_rows, self._frame = num_rows, frame
        # a place behind all others
        self.end = 2 * longest + 2

    def lay(self, parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> LaidRows:
        """Lay the rows end to end.

        Args:
            parts: values, the row of each, and their places in it from 0.
        """
        ends = np.arange(self._num_rows)
        framed = [*parts]
        for ids, place in zip(self._frame, (-1, self.end + 1), strict=True):
            count = len(ids) * self._num_rows
            owners = ends.repeat(len(ids))
            framed.append((np.tile(ids, self._num_rows), owners, np.full(count, place)))
        values, owners, places = map(np.concatenate, zip(*framed, strict=True))
        part_numbers = np.arange(len(framed)).repeat([len(part[0]) for part in framed])
        order = (owners * (self.end + 3) + places).argsort(kind="stable")
        lengths = np.bincount(owners, minlength=self._num_rows)
        return LaidRows(values[order], lengths, part_numbers[order])


def number_within(counts: np.ndarray) -> np.ndarray:
    """[0 1 2 0 1] for counts of [3 2]."""
    return np.arange(counts.sum()) - (counts.cumsum() - counts).repeat(counts)


def draw_words(keys: np.ndarray, what: int, counts: np.ndarray) -> np.ndarray:
    """Evenly spread words (uint64), so many for each row, end to end.

    Args:
        keys: [R], of the rows.
        what: they are for, so that no two draws are the same.
    """
    own = finalize_splitmix64(keys + np.full(1, what, dtype=np.uint64) * GOLDEN_GAMMA)
    steps = (number_within(counts) + 1).astype(np.uint64) * GOLDEN_GAMMA
    return finalize_splitmix64(own.repeat(counts) + steps)


def choose_lowest(words: np.ndarray, counts: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The places of the lowest words of each row, ascending.

    Args:
        words: of all rows, end to end.
        counts: [R] words of each row.
        wanted: [R] how many are chosen.
    """
    order = np.lexsort((words, np.arange(len(counts)).repeat(counts)))
    return np.sort(order[number_within(counts) < wanted.repeat(counts)])


@functools.lru_cache(maxsize=4)
def find_poisson_ends(mean: float) -> np.ndarray:
    """The probabilities of at most 0, 1, 2, ... in a Poisson distribution; the last is 1."""
    probability = math.exp(-mean)
    ends = [probability]
    while ends[-1] < 1 - 2**-25:
        probability *= mean / len(ends)
        ends.append(ends[-1] + probability)
    return np.array([*ends[:-1], 1.0])
