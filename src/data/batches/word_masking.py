"""Which tokens are masked where whole words or spans of words are: a pure function of (seed, epoch,
row), for NumPy and for torch, with the same bits.

A row is parted into units, its words or spans of consecutive words, and takes them in an order of
its own until its fixed number of tokens is reached. A span that does not fit is cut at a word. A
word that does not fit is exchanged with words of one token. So every row has the same number of
masks, and a word is cut only where a row has too few words of one token.

Shape legend: R rows, L tokens of a row, K chosen tokens, N words of the line, V vocabulary.
"""

import functools

import numpy as np
import torch
from torch import Tensor

from src.data.splitmix import (
    GOLDEN_GAMMA,
    INT64_GAMMA,
    derive_key,
    finalize_splitmix64,
    finalize_splitmix64_torch,
    permute_rows,
    shift_right_logical,
    to_signed_int64,
)
from src.data.tokenization.word_joints import JOINS_LEFT

_32, _40 = np.uint64(32), np.uint64(40)
_HIGHEST_BIT = 1 << 31
# before the hash of a row's place on the line of words, which must not depend on that of its units
_PLACE_SALT = 0x5350414E
# of the draws of units
_DRAW_SALT = 0x44524157
# on the line, before they repeat
_NUM_UNITS = 1 << 14
# of a token beside its `JOINS_LEFT` and `JOINS_RIGHT`
_IS_SPECIAL = 4


@functools.lru_cache(maxsize=4)
def build_unit_draws(probability: float, longest: int, row_tokens: int) -> np.ndarray:
    """A long line of words parted into units, of which a row has those of a piece that begins
    anywhere: for each word [N] the draw of its unit, an odd uint32. Times an odd number of a row's
    own, they put the row's units in order. To read them there costs a fifth of drawing them for
    each row.

    The units' lengths in words are geometric, cut at `longest` and scaled up to 1 (Joshi et al.,
    2020, section 3.1: 0.2 and 10 give a mean of 3.8); with a `longest` of 1 they are words. Among
    2^14 units each length is as frequent as it is likely.
    """
    shares = probability * (1 - probability) ** np.arange(longest)
    edges = np.rint(np.cumsum(shares / shares.sum()) * _NUM_UNITS).astype(np.int64)
    lengths = np.repeat(np.arange(1, longest + 1), np.diff(edges, prepend=0))
    lengths = lengths[permute_rows(_PLACE_SALT, 0, _NUM_UNITS)]
    num_words = int(lengths.sum())
    lengths = np.tile(lengths, 1 + -(-row_tokens // num_words))
    steps = np.arange(len(lengths), dtype=np.uint64) * GOLDEN_GAMMA
    hashes = finalize_splitmix64(derive_key(_DRAW_SALT) + steps)
    draws = (hashes >> _32).astype(np.uint32) | np.uint32(1)
    draws = draws.repeat(lengths)[: num_words + row_tokens]
    # the cache hands the same array to all callers
    draws.flags.writeable = False
    return draws


def choose_words(
    ids: np.ndarray,
    keys: np.ndarray,
    starts: np.ndarray,
    num_masked: int,
    *,
    special: np.ndarray,
    joints: np.ndarray,
    unit_draws: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The chosen tokens [K] in the flattened rows, ascending, and the place of each token's word on
    the line of words [R, L].

    Tokens are put in order by the draw of their unit, multiplied with an odd number of their row
    (Dietzfelbinger et al., 1997), and then by their column, so that a unit is taken from its front:
    in a number of 31 bits whose lowest `length.bit_length()` are the column. No two of a row are
    alike. Special tokens have the largest of all, and are never chosen.

    Args:
        ids: [R, L] int64.
        keys: [R] uint64.
        starts: where sequences begin in the flattened rows, and the end of the last.
        num_masked: tokens to choose in each row.
        special: [V] true for ids that are never chosen.
        joints: [V], as of `find_word_joints`.
        unit_draws: as of `build_unit_draws`.
    """
    length = ids.shape[1]
    kinds = (joints | special.view(np.uint8) * np.uint8(_IS_SPECIAL)).take(ids.ravel())
    goes_on = _find_continuations(kinds, starts).reshape(ids.shape)
    words = _place_words(keys, goes_on, len(unit_draws))
    low_bits = np.uint32((1 << length.bit_length()) - 1)
    order = unit_draws.take(words)
    order *= ((keys >> _32).astype(np.uint32) | np.uint32(1))[:, None]
    order >>= np.uint32(1)
    order &= ~low_bits
    order |= np.arange(length, dtype=np.uint32)
    order.ravel()[np.flatnonzero(kinds >= _IS_SPECIAL)] = np.iinfo(np.uint32).max
    limits = find_limits(order, num_masked)
    is_chosen = order <= limits
    _complete_words(is_chosen, order, limits, goes_on, words, num_masked)
    return np.flatnonzero(is_chosen), words


@functools.lru_cache(maxsize=4)
def make_token_steps(length: int) -> np.ndarray:
    """Terms [L] that are added to a row's key, one for each of its tokens."""
    steps = np.arange(1, length + 1, dtype=np.uint64) * GOLDEN_GAMMA
    steps.flags.writeable = False
    return steps


def find_limits(order: np.ndarray, num_masked: int) -> np.ndarray:
    """The largest number [R, 1] of those that are chosen in each row [R, L]; never the largest of
    its type, which is a special token's.
    """
    limits = np.partition(order, num_masked - 1, axis=1)[:, num_masked - 1 : num_masked]
    return np.minimum(limits, np.iinfo(order.dtype).max - 1)


def _find_continuations(kinds: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """True for tokens that go on with the word of the token before them, flattened."""
    goes_on = kinds & JOINS_LEFT
    goes_on[1:] &= kinds[:-1] >> 1
    goes_on[starts[:-1]] = 0
    return goes_on.view(bool)


def _place_words(keys: np.ndarray, goes_on: np.ndarray, num_words: int) -> np.ndarray:
    """Where on the line of `num_words` words that of each token stands [R, L]; neighbouring words
    of a row are neighbours there.
    """
    length = goes_on.shape[1]
    places = finalize_splitmix64(keys ^ np.uint64(_PLACE_SALT)) % np.uint64(num_words - length + 1)
    words = (~goes_on).astype(np.int64)
    words[:, 0] = places
    return np.cumsum(words, axis=1, out=words)


def _complete_words(
    is_chosen: np.ndarray,
    order: np.ndarray,
    limits: np.ndarray,
    goes_on: np.ndarray,
    words: np.ndarray,
    num_masked: int,
) -> None:
    """Where the last chosen word of a row is cut, choose it wholly or not at all: wholly in as many
    cases of n as it has tokens of n chosen. To leave it out always would mask long words less often
    than short ones, by a twentieth in rows of 128 tokens.

    Words of one token make room for it, the last chosen first, or else take its place. Where they
    are too few for that, the front of words of several does. Changes `is_chosen`.
    """
    length = order.shape[1]
    low_bits = np.uint32((1 << length.bit_length()) - 1)
    after = (limits[:, 0] & low_bits).astype(np.int64) + 1
    # beyond the row where all ordinary tokens are chosen, and where the last is the row's last
    is_cut = after < length
    begins = np.arange(len(order)) * length
    is_cut &= goes_on.ravel().take(begins + np.minimum(after, length - 1))
    rows = np.flatnonzero(is_cut)
    if not len(rows):
        return
    after, limits = after[rows], limits[rows]
    order, chosen = order.take(rows, axis=0), is_chosen.take(rows, axis=0)
    words, is_single = words.take(rows, axis=0), ~goes_on.take(rows, axis=0)
    is_single[:, :-1] &= is_single[:, 1:]
    in_cut = words == words.ravel().take(begins[: len(rows)] + after)[:, None]
    count, size = after - in_cut.argmax(axis=1), in_cut.sum(axis=1)
    room = (is_single & chosen).sum(axis=1)
    draws = (finalize_splitmix64(limits[:, 0] + GOLDEN_GAMMA) >> _40).astype(np.int64)
    is_kept = ((draws * size < count << 24) & (room >= size - count))[:, None]
    comes_first = is_kept & (in_cut | (chosen & ~is_single))
    comes_last = np.where(is_kept, ~(chosen | in_cut), (~chosen | in_cut) & ~is_single)
    order = np.where(comes_first, order & low_bits, order)
    order |= comes_last * np.uint32(_HIGHEST_BIT)
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
    unit_draws: Tensor,
) -> tuple[Tensor, Tensor]:
    """The place of each token's word on the line of words [R, L] (-1 for special tokens), and
    numbers [R, L] of which the least are chosen, on the device of the ids and without waiting for
    it.

    Args:
        starts: where sequences begin in the flattened rows, and the end of the last, int64.
        unit_draws: as of `build_unit_draws`, int64.
    """
    length = ids.shape[1]
    columns = torch.arange(length, device=ids.device)
    ends = joints[ids]
    begins_word = torch.ones_like(ids, dtype=torch.bool)
    begins_word[:, 1:] = (ends[:, :-1] >> 1) & ends[:, 1:] & JOINS_LEFT == 0
    begins_word.view(-1)[starts[:-1]] = True
    places = finalize_splitmix64_torch(keys ^ _PLACE_SALT)
    places = _remainder_unsigned(places, len(unit_draws) - length + 1)
    words = places[:, None] + begins_word.cumsum(1) - 1
    low_bits = (1 << length.bit_length()) - 1
    draws = unit_draws[words] * (shift_right_logical(keys, 32) | 1)[:, None]
    order = ((draws & 0xFFFFFFFF) >> 1 & ~low_bits) | columns
    is_special = special[ids]
    order = order.masked_fill(is_special, 2**32 - 1)
    order = _complete_words_torch(order, begins_word, words, low_bits, num_masked)
    return words.masked_fill(is_special, -1), order


def order_as_unsigned(words: Tensor) -> Tensor:
    """Signed words that are ordered as unsigned ones with these bits."""
    return words ^ to_signed_int64(2**63)


def _remainder_unsigned(words: Tensor, divisor: int) -> Tensor:
    """Of int64 words whose bits are read as those of unsigned ones."""
    halves = shift_right_logical(words, 1) % divisor
    return (halves * 2 + (words & 1)) % divisor


def _complete_words_torch(
    order: Tensor, begins_word: Tensor, words: Tensor, low_bits: int, num_masked: int
) -> Tensor:
    length = order.shape[1]
    limits = order.kthvalue(num_masked, dim=1, keepdim=True).values  # [R, 1]
    # where the largest is a special token's, all ordinary tokens are chosen
    after = torch.where(limits == 2**32 - 1, length, (limits & low_bits) + 1)
    inside = after.clamp_max(length - 1)
    is_cut = (after < length) & ~begins_word.gather(1, inside)
    is_single = begins_word.clone()
    is_single[:, :-1] &= begins_word[:, 1:]
    in_cut = words == words.gather(1, inside)
    chosen = order <= limits
    count, size, room = (
        part.sum(1, keepdim=True) for part in (in_cut & chosen, in_cut, is_single & chosen)
    )
    draws = shift_right_logical(finalize_splitmix64_torch(limits + INT64_GAMMA), 40)
    is_kept = (draws * size < count << 24) & (room >= size - count)
    comes_first = is_cut & is_kept & (in_cut | (chosen & ~is_single))
    comes_last = torch.where(is_kept, ~chosen & ~in_cut, (~chosen | in_cut) & ~is_single) & is_cut
    order = torch.where(comes_first, order & low_bits, order)
    return torch.where(comes_last, order | _HIGHEST_BIT, order)
