"""SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), a hash of 64-bit words, for NumPy and for torch,
and the order of rows that is made of it. Both give the same bits.
"""

import functools

import numpy as np
from torch import Tensor


def to_signed_int64(word: int) -> int:
    """The int64 with the bits of a 64-bit word: torch has no unsigned arithmetic, but its products
    wrap in the same way.
    """
    return word - 2**64 if word >= 2**63 else word


_GAMMA, _FACTOR_1, _FACTOR_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
# for torch
INT64_GAMMA, _INT64_FACTOR_1, _INT64_FACTOR_2 = map(to_signed_int64, (_GAMMA, _FACTOR_1, _FACTOR_2))
# for NumPy, as scalars of the arrays' type, which spares a conversion in each operation
GOLDEN_GAMMA, _UINT64_FACTOR_1, _UINT64_FACTOR_2 = map(np.uint64, (_GAMMA, _FACTOR_1, _FACTOR_2))
_27, _30, _31 = map(np.uint64, (27, 30, 31))
MAX_UINT64 = np.uint64(2**64 - 1)


def finalize_splitmix64(words: np.ndarray) -> np.ndarray:
    """The last step of SplitMix64 on uint64 words of any shape: neighbouring inputs give unrelated
    outputs, and different inputs different ones.
    """
    words = words ^ (words >> _30)
    words *= _UINT64_FACTOR_1
    words ^= words >> _27
    words *= _UINT64_FACTOR_2
    words ^= words >> _31
    return words


def finalize_splitmix64_torch(words: Tensor) -> Tensor:
    """The same for int64 words, whose bits are read as those of unsigned ones."""
    words = (words ^ shift_right_logical(words, 30)) * _INT64_FACTOR_1
    words = (words ^ shift_right_logical(words, 27)) * _INT64_FACTOR_2
    return words ^ shift_right_logical(words, 31)


def shift_right_logical(words: Tensor, bits: int) -> Tensor:
    """Shift to the right and fill with zeros, where torch's `>>` copies the sign."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)


@functools.lru_cache(maxsize=16)
def derive_key(*numbers: int) -> np.ndarray:
    """One word [1] (uint64) that depends on all numbers and on their order."""
    key = np.zeros(1, dtype=np.uint64)
    for number in numbers:
        key = finalize_splitmix64(key + GOLDEN_GAMMA + np.array([number % 2**64], dtype=np.uint64))
    # the cache hands the same array to all callers
    key.flags.writeable = False
    return key


def permute_rows(seed: int, epoch: int, count: int) -> np.ndarray:
    """The numbers 0 to `count` - 1 in an order of their own for each (seed, epoch)."""
    words = derive_key(seed, epoch) + np.arange(count, dtype=np.uint64) * GOLDEN_GAMMA
    return np.argsort(finalize_splitmix64(words), kind="stable")
