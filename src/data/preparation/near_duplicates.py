"""Texts that are nearly equal, found by MinHash (Broder, 1997) through the library datasketch.

A text is the set of its pairs of neighbouring words, without capitals and punctuation. How alike
two texts are is the Jaccard index of their sets: what they share of what they hold together. The
share of places in which two signatures agree estimates it, with a standard error of at most 0.045.

Texts that agree in all places of a band are candidates, and signatures are compared for these only
(locality-sensitive hashing: Leskovec, Rajaraman and Ullman, 2014, section 3.4). The bands are as
wide as finds nine in ten of the pairs that are just alike enough, and nearly all that are more so.
A row takes 256 bytes in memory.
"""

import re
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from src.core.user_errors import UserError

if TYPE_CHECKING:
    import numpy as np

PLACES = 128
# a signature of which all places are this one is that of a text without words
_NO_WORDS = 0xFFFF
# of pairs that are just alike enough
_LEAST_FOUND = 0.9
# Writing without spaces (Chinese, Japanese) has a word for each character, as BERT cuts it.
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD_PATTERN = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")
# Words that are hashed, and pairs of rows that are compared, at a time.
_BLOCK_WORDS = 4096
_BLOCK_PAIRS = 8192
_MULTIPLIER = 0x9E3779B1


def find_missing_package() -> Iterator[UserError]:
    """The error of an installation without datasketch."""
    if find_spec("datasketch") is None:
        yield UserError(
            "near duplicates need the package datasketch; pip install -e '.[near-duplicates]'",
            key="data.cleaning.near_duplicates",
            hint="{key}=null looks for none",
        )


class TextSigner:
    """Makes the signatures of texts."""

    def __init__(self) -> None:
        from datasketch import MinHash

        # it is given hashes, and need not compute any
        self._minhash = MinHash(num_perm=PLACES, seed=1, hashfunc=int, scheme="affine32")

    def sign(self, text: str, pair: str | None = None) -> bytes:
        """The signature of a text, or of a pair of texts: `PLACES` numbers of 16 bits.

        The lowest bits are kept of datasketch's numbers of 32 bits: minima of many words are all
        small, and differ in these.
        """
        import numpy as np

        self._minhash.clear()
        for part, edge in ((text, "|"), (pair, "||")):
            for hashes in _iter_shingle_hashes(part or "", edge):
                self._minhash.update_batch(hashes)
        return (self._minhash.hashvalues & 0xFFFF).astype(np.uint16).tobytes()


def find_words(text: str) -> list[str]:
    """The words by which texts are compared: without capitals and punctuation."""
    return _WORD_PATTERN.findall(text.lower())


def _iter_shingle_hashes(text: str, edge: str) -> Iterator[list[int]]:
    """The hashes of all pairs of neighbouring words, block by block. The `edge`, which is no word,
    stands before the first and behind the last, so that a single word has pairs too.
    """
    import numpy as np

    words = find_words(text)
    if not words:
        return
    words = [edge, *words, edge]
    for begin in range(0, len(words) - 1, _BLOCK_WORDS):
        block = words[begin : begin + _BLOCK_WORDS + 1]
        # 32 bits of each word, the same in every process
        hashes = np.array(
            [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in block], dtype=np.uint32
        )
        yield (hashes[:-1] * np.uint32(_MULTIPLIER) + hashes[1:]).tolist()


class NearDuplicates(NamedTuple):
    """What was found among rows, of which the held-out ones come first.

    Args:
        leaders: for each row the number of the first row that it nearly repeats and that stays, or
            its own, [rows] int64.
        repeated: for each held-out row, whether a training row that stays is nearly the same.
    """

    leaders: "np.ndarray"
    repeated: "np.ndarray"


def find_near_duplicates(
    signatures: "np.ndarray", threshold: float, *, num_held_out: int = 0, may_repeat: bool = False
) -> NearDuplicates:
    """Find the rows that are nearly equal to an earlier one.

    Args:
        signatures: [rows, PLACES] uint16, those of held-out rows first. These always stay.
        threshold: the Jaccard index from which on texts are nearly equal.
        may_repeat: whether training rows may be nearly equal to held-out ones.
    """
    import numpy as np

    leaders = np.arange(len(signatures))
    repeated = np.zeros(num_held_out, dtype=bool)
    pairs = find_alike_pairs(signatures, threshold, num_held_out=num_held_out)
    # in the order of the later row, so that what became of the earlier one is known
    for second, first in pairs:
        if first < num_held_out and may_repeat:
            continue
        leader = leaders[first]
        if leaders[second] == second and (
            leader == first or _are_alike(signatures[leader], signatures[second], threshold)
        ):
            leaders[second] = leader
    across = pairs[pairs[:, 1] < num_held_out]
    stays = leaders[across[:, 0]] == across[:, 0]
    repeated[across[stays, 1]] = True
    return NearDuplicates(leaders, repeated)


def find_alike_pairs(
    signatures: "np.ndarray", threshold: float, *, num_held_out: int = 0
) -> "np.ndarray":
    """Pairs (later row, earlier row) of nearly equal rows, [pairs, 2], in the order of the later
    row. Of many rows that are all alike, not all pairs are found, but some for each row.

    Args:
        signatures, threshold: as for `find_near_duplicates`.
        num_held_out: the first rows, among which no pairs are looked for.
    """
    import numpy as np

    pairs = np.empty((0, 2), dtype=np.int64)
    for candidates in _iter_candidates(signatures, choose_band_width(threshold), num_held_out):
        found = [
            block[_are_alike(signatures[block[:, 0]], signatures[block[:, 1]], threshold)]
            for block in np.array_split(candidates, len(candidates) // _BLOCK_PAIRS + 1)
        ]
        pairs = np.unique(np.concatenate([pairs, *found]), axis=0)
    return pairs


def _are_alike(first: "np.ndarray", second: "np.ndarray", threshold: float) -> "np.ndarray":
    """Whether signatures [..., PLACES] agree in enough places [...]."""
    alike: np.ndarray = (first == second).sum(-1) >= threshold * PLACES - 1e-9
    return alike


def choose_band_width(threshold: float) -> int:
    """How many places make a band: as many as find enough of the pairs that are at the
    threshold.
    """
    widths = range(1, PLACES + 1)
    return max(
        width
        for width in widths
        if 1 - (1 - threshold**width) ** (PLACES // width) >= _LEAST_FOUND or width == 1
    )


def _iter_candidates(
    signatures: "np.ndarray", width: int, num_held_out: int
) -> "Iterator[np.ndarray]":
    """Iterate over the bands: pairs (later row, earlier row) of rows that agree in the band,
    [pairs, 2]. Of many rows that agree, each is paired with the first and with the one before it.
    """
    import numpy as np

    with_words = np.flatnonzero((signatures != _NO_WORDS).any(axis=1))
    for begin in range(0, PLACES - width + 1, width):
        keys = np.zeros(len(with_words), dtype=np.uint64)
        for place in range(begin, begin + width):
            keys = (keys ^ signatures[with_words, place]) * np.uint64(0x9E3779B97F4A7C15)
            keys ^= keys >> np.uint64(29)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        is_first = np.ones(len(keys), dtype=bool)
        is_first[1:] = keys[1:] != keys[:-1]
        firsts = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
        later = np.flatnonzero(~is_first)
        pairs = np.concatenate(
            [
                np.stack([order[later], order[later - 1]], axis=1),
                np.stack([order[later], order[firsts[later]]], axis=1),
            ]
        )
        pairs = with_words[pairs]
        yield pairs[pairs[:, 0] >= num_held_out]
