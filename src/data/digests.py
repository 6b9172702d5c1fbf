"""Texts met before, 8 bytes for each."""

import hashlib
from array import array

_MULTIPLIER = 0x9E3779B97F4A7C15  # spreads digests over the table whatever they are (Knuth, 1998, section 6.4)
_64_BITS = (1 << 64) - 1


def digest(text: str, pair: str | None = None, label: str | None = None) -> int:
    """64 bits of a text (and pair, and label), never 0. Among n texts two differ and share one with n^2 / 2^65."""
    found = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8)
    for name, part in (("pair", pair), ("label", label)):
        if part is not None:
            found.update(f"\0{name}\0{len(text)}\0{part}".encode(errors="surrogatepass"))
    return int.from_bytes(found.digest(), "little") or 1


class Digests:
    """A set of digests in one flat table (open addressing, linear probing): 12 to 24 bytes each, 36 while it grows.

    A set of Python's takes about 100.
    """

    def __init__(self) -> None:
        self._count = 0
        self._bits = 10
        self._table = array("Q", bytes(8 << self._bits))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, int) and self._table[self._slot(digest)] == digest

    def add(self, digest: int) -> bool:
        """Whether it was not there yet."""
        slot = self._slot(digest)
        if self._table[slot] == digest:
            return False
        self._table[slot] = digest
        self._count += 1
        if 3 * self._count > 2 << self._bits:
            self._grow()
        return True

    def _slot(self, digest: int) -> int:
        """Where the digest is, or the free slot where it would be."""
        table, last = self._table, (1 << self._bits) - 1
        slot = (digest * _MULTIPLIER & _64_BITS) >> (64 - self._bits)
        while table[slot] and table[slot] != digest:
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        old, self._bits = self._table, self._bits + 1
        self._table = array("Q", bytes(8 << self._bits))
        for each in old:
            if each:
                self._table[self._slot(each)] = each
