"""Which tokens are masked where whole words or spans of words are: a pure function of (seed, epoch,
row), for NumPy and for torch, with the same bits.

A row is parted into units, its words or spans of consecutive words, and takes them in an order of
its own until its fixed number of tokens is reached. A span that does not fit is cut at a word. A
word that does not fit is exchanged with words of one token. So every row has the same number of
masks, and a word is cut only where a row has too few words of one token.

Shape legend: R rows, L tokens of a row, W words of all rows, U units of all rows, V vocabulary.
"""

import functools

import numpy as np
import torch
from torch import Tensor

from src.data.splitmix import (
    GOLDEN_GAMMA,
    INT64_GAMMA,
    MAX_UINT64,
    finalize_splitmix64,
    finalize_splitmix64_torch,
    shift_right_logical,
    to_signed_int64,
)
from src.data.word_joints import JOINS_LEFT

_1, _40 = np.uint64(1), np.uint64(40)
_HIGHEST_BIT = np.uint64(2**63)
# before the hash of spans' lengths, which must not depend on that of their order
_SPAN_SALT = np.uint64(0x5350414E)
_DRAW_BITS = 16
_DRAWS_PER_HASH = 64 // _DRAW_BITS


@functools.lru_cache(maxsize=4)
def build_span_lengths(probability: float, longest: int) -> np.ndarray:
    """The length in words of a span for each of 2^16 equally likely draws, uint8: geometric, cut at
    `longest` and scaled up to 1 (Joshi et al., 2020, section 3.1: 0.2 and 10 give a mean of 3.8).
    """
    shares = probability * (1 - probability) ** np.arange(longest)
    edges = np.rint(np.cumsum(shares / shares.sum()) * 2**_DRAW_BITS).astype(np.int64)
    return np.repeat(np.arange(1, longest + 1, dtype=np.uint8), np.diff(edges, prepend=0))


def order_words(
    ids: np.ndarray,
    keys: np.ndarray,
    starts: np.ndarray,
    num_masked: int,
    *,
    special: np.ndarray,
    joints: np.ndarray,
    span_lengths: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """A word of 64 bits for each token [R, L] (uint64), and which are chosen [R, L].

    The lowest `length.bit_length()` bits are the token's column and those above a hash of its unit,
    so that a unit is taken from its front. No two words of a row are alike; special tokens have the
    largest of all, and are never chosen.

    Args:
        ids: [R, L] int64.
        keys: [R] uint64.
        starts: where sequences begin in the flattened rows, and the end of the last.
        num_masked: tokens to choose in each row.
        special: [V] true for ids that are never chosen.
        joints: [V], as of `find_word_joints`.
        span_lengths: as of `build_span_lengths`; None for single words.
    """
    size, length = ids.shape
    goes_on = _find_continuations(ids, starts, joints)
    words = keys[:, None] + make_token_steps(length)
    low_bits = np.uint64((1 << length.bit_length()) - 1)
    if span_lengths is None:
        words = finalize_splitmix64(words)
        _spread_forward(words.ravel(), goes_on)
    else:
        units = _find_span_begins(keys, goes_on, length, span_lengths)
        hashes = finalize_splitmix64(words.take(units))
        words = hashes.repeat(np.diff(units, append=ids.size)).reshape(size, length)
    # the highest bit is that of special tokens
    words >>= _1
    words &= ~low_bits
    words |= np.arange(length, dtype=np.uint64)
    hide_special_tokens(words, ids, special)
    limits = find_limits(words, num_masked)
    is_chosen = words <= limits
    _complete_words(is_chosen, words, limits, ~goes_on.reshape(size, length), num_masked)
    return words, is_chosen


@functools.lru_cache(maxsize=4)
def make_token_steps(length: int) -> np.ndarray:
    """Terms [L] that are added to a row's key, one for each of its tokens."""
    steps = np.arange(1, length + 1, dtype=np.uint64) * GOLDEN_GAMMA
    steps.flags.writeable = False
    return steps


def hide_special_tokens(words: np.ndarray, ids: np.ndarray, special: np.ndarray) -> None:
    """Give special tokens the largest word of all. They are few, so their places are cheaper than
    a mask.
    """
    words.ravel()[np.flatnonzero(special.take(ids.ravel()))] = MAX_UINT64


def find_limits(words: np.ndarray, num_masked: int) -> np.ndarray:
    """The largest word [R, 1] of those that are chosen in each row; never a special token's."""
    limits = np.partition(words, num_masked - 1, axis=1)[:, num_masked - 1 : num_masked]
    return np.minimum(limits, MAX_UINT64 - _1)


def unit_bits(length: int) -> int:
    """The bits of a token's word that all tokens of its unit have in common."""
    return (2**63 - 1) & -(1 << length.bit_length())


def _find_continuations(ids: np.ndarray, starts: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """True for tokens that go on with the word of the token before them, flattened."""
    ends = joints.take(ids.ravel())
    goes_on = ends.copy()
    goes_on[1:] &= ends[:-1] >> 1
    goes_on &= JOINS_LEFT
    goes_on[starts[:-1]] = 0
    return goes_on.view(bool)


def _spread_forward(words: np.ndarray, goes_on: np.ndarray) -> None:
    """Give each token of a word what its first has: in each turn to those that are one token
    further from it.
    """
    places, distance = np.flatnonzero(goes_on), 1
    while len(places):
        words[places] = words.take(places - distance)
        places = places[goes_on.take(places - distance)]
        distance += 1


def _find_span_begins(
    keys: np.ndarray, goes_on: np.ndarray, length: int, span_lengths: np.ndarray
) -> np.ndarray:
    """The tokens [U] that begin a span, where spans tile each row."""
    begins = np.append(np.flatnonzero(~goes_on), len(goes_on))  # [W + 1]
    # the words of each row, from `edges[:-1]` to `edges[1:]`
    edges = begins.searchsorted(np.arange(len(keys) + 1) * length)
    ends = _draw_span_ends(keys, np.diff(edges).max(initial=0), span_lengths)
    # the last span of a row ends where it does
    ends = np.minimum(ends + edges[:-1, None], edges[1:, None])
    is_begin = np.zeros(len(goes_on) + 1, dtype=bool)
    is_begin[begins.take(ends)] = True
    is_begin[:1] = True
    return np.flatnonzero(is_begin[:-1])


def _draw_span_ends(keys: np.ndarray, most: int, span_lengths: np.ndarray) -> np.ndarray:
    """The words at which spans end, counted in each row, until all are past `most` words."""
    # 1 + a quarter of what is needed on average, in hashes of several draws
    count = 2 + int(1.25 * most / span_lengths.mean() / _DRAWS_PER_HASH)
    while True:
        steps = make_token_steps(count)
        hashes = finalize_splitmix64((keys ^ _SPAN_SALT)[:, None] + steps)
        draws = hashes.astype("<u8", copy=False).view("<u2")
        ends = span_lengths.take(draws).cumsum(axis=1, dtype=np.int64)
        if (ends[:, -1] >= most).all():
            return ends
        count *= 2


def _complete_words(
    is_chosen: np.ndarray,
    words: np.ndarray,
    limits: np.ndarray,
    begins_word: np.ndarray,
    num_masked: int,
) -> None:
    """Where the last chosen word of a row is cut, choose it wholly or not at all: wholly in as many
    cases of n as it has tokens of n chosen. To leave it out always would mask long words less often
    than short ones, by a twentieth in rows of 128 tokens.

    Words of one token make room for it, the last chosen first, or else take its place. Where they
    are too few for that, the front of words of several does. Changes `is_chosen`.
    """
    length = words.shape[1]
    low_bits = np.uint64((1 << length.bit_length()) - 1)
    after = (limits[:, 0] & low_bits).astype(np.int64) + 1
    # beyond the row where all ordinary tokens are chosen, and where the last is the row's last
    is_cut = after < length
    is_cut &= ~begins_word[np.arange(len(words)), np.minimum(after, length - 1)]
    rows = np.flatnonzero(is_cut)
    if not len(rows):
        return
    begins, chosen, limits = begins_word[rows], is_chosen[rows], limits[rows]
    is_single = begins.copy()
    is_single[:, :-1] &= begins[:, 1:]
    numbers = begins.cumsum(axis=1, dtype=np.int32)
    in_cut = numbers == numbers[np.arange(len(rows)), after[rows]][:, None]
    count, size = (np.count_nonzero(part, axis=1) for part in (in_cut & chosen, in_cut))
    room = np.count_nonzero(is_single & chosen, axis=1)
    draws = (finalize_splitmix64(limits[:, 0] + GOLDEN_GAMMA) >> _40).astype(np.int64)
    is_kept = ((draws * size < count << 24) & (room >= size - count))[:, None]
    order = words[rows]
    order[is_kept & (in_cut | (chosen & ~is_single))] &= low_bits
    order[np.where(is_kept, ~chosen & ~in_cut, (~chosen | in_cut) & ~is_single)] |= _HIGHEST_BIT
    is_chosen[rows] = order <= find_limits(order, num_masked)


# -- the same for torch


def order_words_torch(
    ids: Tensor,
    keys: Tensor,
    starts: Tensor,
    num_masked: int,
    *,
    special: Tensor,
    joints: Tensor,
    span_lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The words of `order_words` [R, L] (int64, whose bits are read as those of unsigned ones), and
    others [R, L] of which the least are chosen, on the device of the ids and without waiting for
    it.

    Args:
        starts: where sequences begin in the flattened rows, and the end of the last, int64.
    """
    size, length = ids.shape
    columns = torch.arange(length, device=ids.device)
    ends = joints[ids]
    begins_word = torch.ones_like(ids, dtype=torch.bool)
    begins_word[:, 1:] = (ends[:, :-1] >> 1) & ends[:, 1:] & JOINS_LEFT == 0
    begins_word.view(-1)[starts[:-1]] = True
    begins_unit = begins_word
    if span_lengths is not None:
        steps = torch.arange(1, -(-length // _DRAWS_PER_HASH) + 1, device=ids.device)
        hashes = finalize_splitmix64_torch((keys ^ int(_SPAN_SALT))[:, None] + steps * INT64_GAMMA)
        shifts = torch.arange(0, 64, _DRAW_BITS, device=ids.device)
        draws = ((hashes[:, :, None] >> shifts) & (2**_DRAW_BITS - 1)).flatten(1)
        span_ends = span_lengths[draws].cumsum(1).clamp_max(length)
        ends_span = begins_word.new_zeros(size, length + 1).scatter_(1, span_ends, True)
        begins_unit = begins_word & ends_span.gather(1, begins_word.cumsum(1) - 1)
        begins_unit[:, 0] = True
    unit_columns = torch.where(begins_unit, columns, 0).cummax(dim=1).values
    low_bits = (1 << length.bit_length()) - 1
    units = finalize_splitmix64_torch(keys[:, None] + (unit_columns + 1) * INT64_GAMMA)
    words = (shift_right_logical(units, 1) & ~low_bits) | columns
    # -1 has all bits set: the largest word, where words are read as unsigned
    words = words.masked_fill(special[ids], -1)
    return words, _complete_words_torch(words, begins_word, low_bits, num_masked)


def order_as_unsigned(words: Tensor) -> Tensor:
    """Signed words that are ordered as unsigned ones with these bits."""
    return words ^ to_signed_int64(2**63)


def _complete_words_torch(
    words: Tensor, begins_word: Tensor, low_bits: int, num_masked: int
) -> Tensor:
    length = words.shape[1]
    ordered = order_as_unsigned(words)
    limits = ordered.kthvalue(num_masked, dim=1, keepdim=True).values  # [R, 1]
    last = order_as_unsigned(limits)
    # where the largest word is a special token's, all ordinary tokens are chosen
    after = torch.where(last == -1, length, (last & low_bits) + 1)
    inside = after.clamp_max(length - 1)
    is_cut = (after < length) & ~begins_word.gather(1, inside)
    is_single = begins_word.clone()
    is_single[:, :-1] &= begins_word[:, 1:]
    numbers = begins_word.cumsum(1)
    in_cut = numbers == numbers.gather(1, inside)
    chosen = ordered <= limits
    count, size, room = (
        part.sum(1, keepdim=True) for part in (in_cut & chosen, in_cut, is_single & chosen)
    )
    draws = shift_right_logical(finalize_splitmix64_torch(last + INT64_GAMMA), 40)
    is_kept = (draws * size < count << 24) & (room >= size - count)
    comes_first = is_cut & is_kept & (in_cut | (chosen & ~is_single))
    comes_last = torch.where(is_kept, ~chosen & ~in_cut, (~chosen | in_cut) & ~is_single) & is_cut
    order = torch.where(comes_first, words & low_bits, words)
    return order_as_unsigned(torch.where(comes_last, order | to_signed_int64(2**63), order))
