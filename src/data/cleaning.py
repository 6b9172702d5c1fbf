"""Cleaning of rows: which are dropped, how texts are normalised, and how often each happened.

Texts that were met before are remembered as hashes of 8 bytes.
"""

import hashlib
import json
import re
from array import array
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from src.core.user_errors import UserError
from src.core.validation import validate_init
from src.data.label_map import LabelMap
from src.data.labels import normalize_label, normalize_labels
from src.data.records import RawRecord
from src.data.token_labels import TokenLabels

# Spreads digests evenly over the table (Fibonacci hashing: Knuth, 1998, section 6.4).
_MULTIPLIER = 0x9E3779B97F4A7C15
_UINT64_MASK = (1 << 64) - 1


def hash_text(text: str, pair: str | None = None, label: str | None = None) -> int:
    """A hash of 64 bits of a text, with its pair and label if given; never 0.

    Among n different texts, two share a hash with probability n^2 / 2^65.
    """
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8)
    for name, part in (("pair", pair), ("label", label)):
        if part is not None:
            digest.update(f"\0{name}\0{len(text)}\0{part}".encode(errors="surrogatepass"))
    return int.from_bytes(digest.digest(), "little") or 1


class DigestSet:
    """A set of 64-bit hashes in one flat table (open addressing with linear probing).

    It needs 12 to 24 bytes for each, 36 while it grows; a Python set needs about 100.
    """

    def __init__(self) -> None:
        self._count = 0
        self._bits = 10
        self._table = array("Q", bytes(8 << self._bits))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, int) and self._table[self._find_slot(digest)] == digest

    def add(self, digest: int) -> bool:
        """Add a hash; returns True if it is new."""
        slot = self._find_slot(digest)
        if self._table[slot] == digest:
            return False
        self._table[slot] = digest
        self._count += 1
        if 3 * self._count > 2 << self._bits:
            self._double_table()
        return True

    def _find_slot(self, digest: int) -> int:
        """The slot of the digest, or the free slot where it belongs."""
        table, last = self._table, (1 << self._bits) - 1
        slot = (digest * _MULTIPLIER & _UINT64_MASK) >> (64 - self._bits)
        while table[slot] and table[slot] != digest:
            slot = (slot + 1) & last
        return slot

    def _double_table(self) -> None:
        old, self._bits = self._table, self._bits + 1
        self._table = array("Q", bytes(8 << self._bits))
        for digest in old:
            if digest:
                self._table[self._find_slot(digest)] = digest


# Why cleaning drops a row, in words; the names are those of the counts.
DROP_REASONS = {
    "empty_text": "empty (data.source.text)",
    "missing_label": "without a label (data.source.label)",
    "unmapped_label": "with a label that data.label_map leaves out",
    "overlap": "also in validation or test (data.cleaning.overlap)",
    "duplicates": "there before (data.cleaning.duplicates)",
    "contradicting_duplicates": "there before with another label (data.cleaning.duplicates)",
}

_BR_TAG_PATTERN = re.compile(r"<br\s*/?>", re.IGNORECASE)
# A longer text is split into words piece by piece, to bound memory.
_LONG_TEXT_CHARACTERS = 1 << 20
# Part of the fingerprint: raise it when the same rows are cleaned differently.
_CLEANING_VERSION = 2


@validate_init
@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What happens to texts and rows that may harm training or its evaluation.

    Args:
        breaks: turn `<br />` tags into line breaks.
        whitespace: make every run of white space one space.
        empty_text: rows without text: `drop` them, or end with an `error`.
        missing_label: rows without label, where labels are needed: `drop` them, or end with an
            `error`. Kept ones have, where a row may have several labels, none of them.
        duplicates: equal texts (and pairs) within a split: `drop` keeps the first and remembers 8
            bytes of each (16 where rows have labels), which take three times as many in memory at
            most (`DigestSet`).
        overlap: training texts that also stand in validation or test: kept, they would flatter the
            score.
    """

    breaks: bool = False
    whitespace: bool = False
    empty_text: Literal["drop", "error"] = "drop"
    missing_label: Literal["drop", "error", "keep"] = "drop"
    duplicates: Literal["keep", "drop"] = "keep"
    overlap: Literal["keep", "drop"] = "drop"

    def clean_records(
        self,
        records: Iterable[RawRecord],
        *,
        split: str,
        labelled: bool,
        counts: Counter[str],
        forbidden: Container[int] | None = None,
        label_map: LabelMap | None = None,
    ) -> Iterator[RawRecord]:
        """Iterate over the rows that stay, with normalised texts.

        Each row is counted twice: as "<split>/read", and as "<split>/kept" or with the reason why
        it was dropped: "empty_text", "missing_label", "unmapped_label", "overlap", "duplicates" or,
        if the first row with its text has another label, "contradicting_duplicates".

        Args:
            labelled: whether every row needs a label.
            counts: incremented as said above.
            forbidden: hashes of the rows that this split must not overlap.
            label_map: what becomes of labels.

        Raises:
            UserError: an empty text or a missing label whose policy is "error".
        """
        firsts = DigestSet()
        for raw_record in records:
            record = self.normalize_record(raw_record)
            reason = self._find_drop_reason(record, labelled)
            label = None if isinstance(record.label, TokenLabels) else record.label
            if reason is None and label_map is not None and label is not None:
                record = record._replace(label=label_map.map_labels(label))
                reason = "unmapped_label" if record.label is None else None
            if (
                reason is None
                and forbidden is not None
                and self.overlap == "drop"
                and hash_text(record.text, record.pair) in forbidden
            ):
                reason = "overlap"
            if reason is None and self.duplicates == "drop":
                reason = _find_duplicate_reason(record, firsts, labelled)
            counts[f"{split}/read"] += 1
            counts[f"{split}/{reason or 'kept'}"] += 1
            if reason is None:
                yield record

    def compute_fingerprint(self) -> str:
        """SHA-256, in hex, of the policies."""
        return hashlib.sha256(
            json.dumps({"rules": _CLEANING_VERSION, **asdict(self)}, sort_keys=True).encode()
        ).hexdigest()

    def normalize_record(self, record: RawRecord) -> RawRecord:
        """The row with its texts and its label as they are compared, counted and used."""
        if isinstance(record.label, str):
            record = record._replace(label=normalize_label(record.label))
        elif isinstance(record.label, tuple):
            record = record._replace(label=normalize_labels(record.label))
        if not self.breaks and not self.whitespace:
            return record
        pair = None if record.pair is None else self._normalize_text(record.pair)
        text = self._normalize_text(record.text)
        if isinstance(record.label, TokenLabels) and text != record.text:
            raise UserError(
                f"{record.where}: data.cleaning changes the text, in which labelled words have "
                "their places; clean such texts before they are labelled"
            )
        return record._replace(text=text, pair=pair)

    def _normalize_text(self, text: str) -> str:
        if self.breaks:
            text = _BR_TAG_PATTERN.sub("\n", text)
        if not self.whitespace:
            return text
        if len(text) <= _LONG_TEXT_CHARACTERS:
            return " ".join(text.split())
        from src.data.text_encoder import split_text

        return " ".join(
            filter(
                None,
                (" ".join(piece.split()) for piece in split_text(text, size=_LONG_TEXT_CHARACTERS)),
            )
        )

    def _find_drop_reason(self, record: RawRecord, labelled: bool) -> str | None:
        """Why the row cannot be used, or None. Raises UserError if the policy is "error"."""
        if not record.text.strip() or (record.pair is not None and not record.pair.strip()):
            if self.empty_text == "error":
                what = "pair" if record.text.strip() else "text"
                raise UserError(
                    f"{record.where}: the {what} is empty; data.cleaning.empty_text=drop leaves "
                    "such rows out"
                )
            return "empty_text"
        if labelled and record.label is None and self.missing_label != "keep":
            if self.missing_label == "error":
                raise UserError(
                    f"{record.where}: no label; data.cleaning.missing_label=drop leaves such rows "
                    "out"
                )
            return "missing_label"
        return None


def _find_duplicate_reason(record: RawRecord, seen: DigestSet, labelled: bool) -> str | None:
    """Why a row is a duplicate, or None. A new row is added to `seen`, with its label if any."""
    new = seen.add(hash_text(record.text, record.pair))
    if not labelled:
        return None if new else "duplicates"
    # 1, 1.0 and true are one label
    label = record.label if isinstance(record.label, str) else f"number {hash(record.label)}"
    known = hash_text(record.text, record.pair, label)
    if new:
        seen.add(known)
        return None
    return "duplicates" if known in seen else "contradicting_duplicates"
