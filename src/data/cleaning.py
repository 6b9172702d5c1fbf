"""What is left out of a data set and what is tidied before anything is made of it; every row is accounted for."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from src.data.cutting import pieces
from src.data.digests import Digests, digest
from src.data.formats import Record
from src.terms.bounds import checked
from src.terms.fault import Fault

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_LONG = 1 << 20  # letters, whose words are held apart at once
_RULES = 1  # part of the fingerprint: count up when the same rows are cleaned into others


@checked
@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """Policies for doubtful rows.

    `breaks` turns `<br />` tags into line breaks; `whitespace` makes every run of white space one space.
    `duplicates` are equal texts (and pairs) within a split: "drop" keeps the first and remembers 8 bytes of each (16
    where rows have labels), which take three times as many in memory at most (`digests.py`).
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
        forbidden: Container[int] | None = None,
    ) -> Iterator[Record]:
        """The rows that stay, tidied. `forbidden` holds the digests of the rows that this split must not overlap.

        Each row is counted twice: as "<split>/read", and as "<split>/kept" or by why it went: "empty_text",
        "missing_label", "overlap", "duplicates" or, where the first of its kind has another label,
        "contradicting_duplicates".
        """
        firsts = Digests()
        for found in records:
            record = self.tidy(found)
            reason = self._objection(record, labelled)
            if (
                reason is None
                and forbidden is not None
                and self.overlap == "drop"
                and digest(record.text, record.pair) in forbidden
            ):
                reason = "overlap"
            if reason is None and self.duplicates == "drop":
                reason = _repeats(record, firsts, labelled)
            counts[f"{split}/read"] += 1
            counts[f"{split}/{reason or 'kept'}"] += 1
            if reason is None:
                yield record

    def fingerprint(self) -> str:
        """SHA-256, in hex, of the policies."""
        return hashlib.sha256(json.dumps({"rules": _RULES, **asdict(self)}, sort_keys=True).encode()).hexdigest()

    def tidy(self, record: Record) -> Record:
        if not self.breaks and not self.whitespace:
            return record
        pair = None if record.pair is None else self._tidied(record.pair)
        return record._replace(text=self._tidied(record.text), pair=pair)

    def _tidied(self, text: str) -> str:
        if self.breaks:
            text = _BREAK.sub("\n", text)
        if not self.whitespace:
            return text
        if len(text) <= _LONG:
            return " ".join(text.split())
        return " ".join(filter(None, (" ".join(each.split()) for each in pieces(text, size=_LONG))))

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


def _repeats(record: Record, firsts: Digests, labelled: bool) -> str | None:
    """Why a row that stood there before goes; one that did not is remembered, with its label where it has one."""
    new = firsts.add(digest(record.text, record.pair))
    if not labelled:
        return None if new else "duplicates"
    label = record.label if isinstance(record.label, str) else f"number {hash(record.label)}"  # 1, 1.0 and true: one
    known = digest(record.text, record.pair, label)
    if new:
        firsts.add(known)
        return None
    return "duplicates" if known in firsts else "contradicting_duplicates"
