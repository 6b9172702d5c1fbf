"""What is left out of a data set and what is tidied before anything is made of it; every row is accounted for."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from typing import Literal

from src.data.formats import Record
from src.terms.bounds import checked
from src.terms.fault import Fault

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_RULES = 1  # part of the fingerprint: count up when the same rows are cleaned into others


@checked
@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """Policies for doubtful rows.

    `breaks` turns `<br />` tags into line breaks; `whitespace` makes every run of white space one space.
    `duplicates` are equal texts (and pairs) within a split: "drop" keeps the first and remembers 16 bytes of each.
    `overlap` are training texts that also stand in validation or test: kept, they would flatter the score.
    """

    breaks: bool = False
    whitespace: bool = False
    empty_text: Literal["drop", "error"] = "drop"
    missing_label: Literal["drop", "error"] = "drop"
    duplicates: Literal["keep", "drop"] = "keep"
    overlap: Literal["keep", "drop"] = "drop"

    def clean(
        self,
        records: Iterable[Record],
        *,
        split: str,
        labelled: bool,
        counts: Counter[str],
        forbidden: AbstractSet[bytes] | None = None,
    ) -> Iterator[Record]:
        """The rows that stay, tidied. `forbidden` holds the `digests` of the splits that this one must not overlap.

        Each row is counted twice: as "<split>/read", and as "<split>/kept" or by why it went: "empty_text",
        "missing_label", "overlap", "duplicates" or, where the first of its kind has another label,
        "contradicting_duplicates".
        """
        first_labels: dict[bytes, str | int | float | None] = {}
        for found in records:
            record = self._tidy(found)
            reason = self._objection(record, labelled)
            if reason is None and forbidden and self.overlap == "drop" and _digest(record) in forbidden:
                reason = "overlap"
            if reason is None and self.duplicates == "drop":
                digest = _digest(record)
                if digest not in first_labels:
                    first_labels[digest] = record.label
                elif labelled and first_labels[digest] != record.label:
                    reason = "contradicting_duplicates"
                else:
                    reason = "duplicates"
            counts[f"{split}/read"] += 1
            counts[f"{split}/{reason or 'kept'}"] += 1
            if reason is None:
                yield record

    def digests(self, records: Iterable[Record]) -> set[bytes]:
        """16 bytes for each different tidied text and pair: what `clean` takes as `forbidden`."""
        return {_digest(self._tidy(record)) for record in records}

    def fingerprint(self) -> str:
        """SHA-256, in hex, of the policies."""
        return hashlib.sha256(json.dumps({"rules": _RULES, **asdict(self)}, sort_keys=True).encode()).hexdigest()

    def _tidy(self, record: Record) -> Record:
        if not self.breaks and not self.whitespace:
            return record
        pair = None if record.pair is None else self._tidied(record.pair)
        return record._replace(text=self._tidied(record.text), pair=pair)

    def _tidied(self, text: str) -> str:
        if self.breaks:
            text = _BREAK.sub("\n", text)
        return " ".join(text.split()) if self.whitespace else text

    def _objection(self, record: Record, labelled: bool) -> str | None:
        """Why the row cannot be used, or None; a `Fault` where the policy is "error"."""
        if not record.text.strip() or (record.pair is not None and not record.pair.strip()):
            if self.empty_text == "error":
                what = "pair" if record.text.strip() else "text"
                raise Fault(f"{record.where}: the {what} is empty; data.cleaning.empty_text=drop leaves such rows out")
            return "empty_text"
        if labelled and record.label is None:
            if self.missing_label == "error":
                raise Fault(f"{record.where}: no label; data.cleaning.missing_label=drop leaves such rows out")
            return "missing_label"
        return None


def _digest(record: Record) -> bytes:
    text = record.text.encode(errors="surrogatepass")
    digest = hashlib.blake2b(text, digest_size=16)
    if record.pair is not None:
        digest.update(b"\0pair\0%d\0" % len(text) + record.pair.encode(errors="surrogatepass"))
    return digest.digest()
