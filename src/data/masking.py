"""Masking and order as pure functions of (seed, epoch, row).

Nothing here has a state: the same row of the same epoch is masked alike in any process, on any number of workers,
after any interruption.

Shape legend: R rows, L tokens of a row, K masked positions of all rows, V vocabulary.
"""

from typing import NamedTuple

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(words: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al., 2014): neighbouring inputs give unrelated outputs."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _key(*numbers: int) -> np.ndarray:
    key = np.zeros(1, dtype=np.uint64)
    for number in numbers:
        key = _mix(key + _GOLDEN + np.array([number % 2**64], dtype=np.uint64))
    return key


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
    count, length = ids.shape
    per_row = max(1, round(fraction * length))
    keys = _mix(_key(seed, epoch) + rows.astype(np.uint64) * _GOLDEN)  # [R]
    words = _mix(keys[:, None] + np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN)  # [R, L]
    words[special[ids]] = np.iinfo(np.uint64).max  # sorts last
    chosen = np.sort(np.argpartition(words, per_row - 1, axis=1)[:, :per_row], axis=1)  # [R, per_row]
    flat = (chosen + np.arange(count)[:, None] * length).ravel()
    flat = flat[words.ravel()[flat] != np.iinfo(np.uint64).max]
    targets = ids.ravel()[flat]
    fate = _mix(words.ravel()[flat] + _GOLDEN)
    share = (fate >> np.uint64(40)).astype(np.float64) / 2**24  # uniform in [0, 1)
    drawn = ordinary[(fate & np.uint64(0xFFFFFF)).astype(np.int64) % len(ordinary)]
    replaced = np.where(share < mask_share, mask_id, np.where(share < mask_share + random_share, drawn, targets))
    out = ids.copy()
    out.ravel()[flat] = replaced
    return Masked(out, flat, targets)
