"""Masking and order as pure functions of (seed, epoch, row).

Nothing here has a state: the same row of the same epoch is masked alike in any process, on any number of workers,
after any interruption.

Shape legend: R rows, L tokens of a row, K masked positions of all rows, V vocabulary.
"""

import functools
from typing import NamedTuple

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _40 = (np.uint64(bits) for bits in (27, 30, 31, 40))
_24_BITS = np.uint64(2**24 - 1)
_LAST = np.uint64(2**64 - 1)


def _mix(words: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al., 2014): neighbouring inputs give unrelated outputs."""
    words = words ^ (words >> _30)
    words *= _FIRST
    words ^= words >> _27
    words *= _SECOND
    words ^= words >> _31
    return words


@functools.lru_cache(maxsize=16)
def _key(*numbers: int) -> np.ndarray:
    key = np.zeros(1, dtype=np.uint64)
    for number in numbers:
        key = _mix(key + _GOLDEN + np.array([number % 2**64], dtype=np.uint64))
    key.flags.writeable = False  # one array for all who ask
    return key


@functools.lru_cache(maxsize=4)
def _columns(length: int) -> np.ndarray:
    """What is added to a row's key for each of its tokens [L]."""
    steps = np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN
    steps.flags.writeable = False
    return steps


def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """A permutation of `count` rows."""
    return np.argsort(_mix(_key(seed, epoch) + np.arange(count, dtype=np.uint64) * _GOLDEN), kind="stable")


class Masked(NamedTuple):
    ids: np.ndarray  # [R, L] with replacements
    positions: np.ndarray  # [K] into the flattened rows, ascending
    targets: np.ndarray  # [K] what stood there


def mask(
    ids: np.ndarray,
    rows: np.ndarray,
    *,
    seed: int,
    epoch: int,
    fraction: float,
    mask_share: float,
    random_share: float,
    mask_id: int,
    ordinary: np.ndarray,
    special: np.ndarray,
) -> Masked:
    """Choose and replace tokens, a fixed number in each row, as in Devlin et al. (2019), section 3.1.

    Args:
        ids: [R, L].
        rows: [R], what makes each row's choice its own.
        fraction: of a row's L tokens; special tokens are never chosen, and a row of few others has fewer masks.
        mask_share, random_share: of the chosen ones, what becomes the mask token and what a random one; the rest stays.
        ordinary: ids a random token is drawn from.
        special: [V] true for special ids.
    """
    length = ids.shape[1]
    per_row = max(1, round(fraction * length))
    keys = _mix(_key(seed, epoch) + rows.astype(np.uint64) * _GOLDEN)  # [R]
    words = _mix(keys[:, None] + _columns(length))  # [R, L]
    np.putmask(words, special.take(ids), _LAST)
    limits = np.partition(words, per_row - 1, axis=1)[:, per_row - 1 : per_row]  # [R, 1], the largest word chosen
    # No two words of a row are alike, but those of special tokens, which are above any limit that is lowered by one.
    flat = np.flatnonzero(words <= np.minimum(limits, _LAST - np.uint64(1)))  # [K]
    targets = ids.take(flat)
    fate = _mix(words.take(flat) + _GOLDEN)
    share = (fate >> _40).astype(np.float64) / 2**24  # uniform in [0, 1)
    drawn = ordinary.take((fate & _24_BITS).astype(np.int64) % len(ordinary))
    replaced = np.where(share < mask_share, mask_id, np.where(share < mask_share + random_share, drawn, targets))
    out = ids.copy()
    out.ravel()[flat] = replaced
    return Masked(out, flat, targets)
