"""Cleaning of rows: which are dropped, how texts are normalised, and how often each happened.

Texts that were met before are remembered as hashes of 8 bytes.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from src.core.user_errors import UserError, UserErrors
from src.core.validation import Bound, Fraction, PositiveInt, validate_init
from src.data.preparation.label_map import LabelMap
from src.data.preparation.languages import (
    find_language_errors,
    has_letters,
    identify_language,
)
from src.data.preparation.near_duplicates import find_missing_package
from src.data.preparation.text_cleaning import (
    NormalForm,
    apply_normal_form,
    collapse_whitespace,
    compute_symbol_share,
    drop_control_characters,
    replace_break_tags,
    strip_html,
)
from src.data.rows.labels import normalize_label, normalize_labels
from src.data.rows.records import RawRecord
from src.data.rows.token_labels import TokenLabels

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
    "empty_pair": "with an empty second text (data.source.pair)",
    "too_short": "shorter than data.cleaning.min_words or min_characters",
    "too_long": "longer than data.cleaning.max_characters",
    "symbols": "with a larger share of symbols than data.cleaning.max_symbols",
    "other_language": "in another language than data.cleaning.languages",
    "missing_label": "without a label (data.source.label)",
    "unmapped_label": "with a label that data.label_map leaves out",
    "overlap": "also in validation or test (data.cleaning.overlap)",
    "held_out_group": "of a group that is also in validation or test (data.split.group)",
    "duplicates": "there before (data.cleaning.duplicates)",
    "contradicting_duplicates": "there before with another label (data.cleaning.duplicates)",
    "near_overlap": "nearly also in validation or test (data.cleaning.near_duplicates)",
    "near_duplicates": "nearly there before (data.cleaning.near_duplicates)",
    "contradicting_near_duplicates": (
        "nearly there before with another label (data.cleaning.near_duplicates)"
    ),
}

# Part of the fingerprint: raise it when the same rows are cleaned differently.
_CLEANING_VERSION = 2


@validate_init
@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What happens to texts and rows that may harm training or its evaluation.

    Texts are changed alike in all splits and for predictions. Rows are left out of train only, but
    for those without text or label; a split that is taken out of train lacks them too.

    Args:
        html: take tags, comments, scripts and styles out, and write `&amp;` and the like as the
            characters that they stand for.
        breaks: turn `<br />` tags into line breaks.
        control_characters: characters that show nothing, such as NUL, soft hyphens and zero-width
            spaces; joiners stay.
        normal_form: of Unicode: NFC writes a letter and its accent as one character, NFKC also
            makes half-width, circled and ligated characters plain ones. Null leaves texts as they
            are.
        whitespace: make every run of white space one space.
        min_words: leave training rows with fewer words out, which white space parts; null: none.
        min_characters: leave training rows with shorter texts out; both of a pair count.
        max_characters: leave training rows with longer texts out; a text that is too long for the
            model need not be, it is cut.
        max_symbols: leave training rows out of whose characters a larger share is neither letter,
            digit nor white space.
        languages: leave training rows out whose likeliest language is none of these, such as
            [en, de], by their codes of ISO 639; null: none.
        language_min_letters: texts with fewer letters are guessed badly, and stay.
        empty_text: rows without text: `drop` them, or end with an `error`.
        missing_label: rows without label, where labels are needed: `drop` them, or end with an
            `error`. Kept ones have, where a row may have several labels, none of them.
        duplicates: equal texts (and pairs) within any split: `drop` keeps the first and remembers 8
            bytes of each (16 where rows have labels), which take three times as many in memory at
            most (`DigestSet`).
        overlap: training texts that also stand in validation or test: kept, they would flatter the
            score.
        near_duplicates: drop training rows that are nearly an earlier one, or nearly one of
            validation or test unless `overlap=keep`: those whose pairs of neighbouring words are
            alike to this degree (Jaccard index; 0.8: 200 words of which about 10 were changed).
            Null looks for none.
    """

    html: bool = False
    breaks: bool = False
    control_characters: Literal["keep", "drop"] = "keep"
    normal_form: NormalForm | None = None
    whitespace: bool = False
    min_words: PositiveInt | None = None
    min_characters: PositiveInt | None = None
    max_characters: PositiveInt | None = None
    max_symbols: Fraction | None = None
    languages: list[str] | None = None
    language_min_letters: PositiveInt = 50
    empty_text: Literal["drop", "error"] = "drop"
    missing_label: Literal["drop", "error", "keep"] = "drop"
    duplicates: Literal["keep", "drop"] = "keep"
    overlap: Literal["keep", "drop"] = "drop"
    near_duplicates: Annotated[float, Bound(least=0.4, most=1)] | None = None

    def check(self) -> None:
        """Raise UserError if a package is not installed that finds near duplicates or tells
        languages, or if a language is not known.
        """
        errors: list[UserError] = []
        if self.near_duplicates is not None:
            errors += find_missing_package()
        if self.languages is not None:
            errors += find_language_errors(self.languages)
        if errors:
            raise UserErrors(errors)

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
        it was dropped: "empty_text", "empty_pair", "missing_label", "unmapped_label", "overlap",
        "duplicates" or, if the first row with its text has another label,
        "contradicting_duplicates"; of train also "too_short", "too_long", "symbols" or
        "other_language". Rows that stay and whose texts were changed are counted once more, as
        "<split>/changed", and those whose texts are too short for their language to be told, as
        "<split>/language_unknown".

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
            if reason is None and split == "train":
                reason = self._find_unfit_reason(record)
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
            is_language_unknown = False
            if reason is None and split == "train" and self.languages is not None:
                text = _join_texts(record)
                is_language_unknown = not has_letters(text, self.language_min_letters)
                if not is_language_unknown and identify_language(text) not in self.languages:
                    reason = "other_language"
            counts[f"{split}/read"] += 1
            counts[f"{split}/{reason or 'kept'}"] += 1
            if reason is None and record[:2] != raw_record[:2]:
                counts[f"{split}/changed"] += 1
            if reason is None and is_language_unknown:
                counts[f"{split}/language_unknown"] += 1
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
        if not self.changes_texts:
            return record
        pair = None if record.pair is None else self._normalize_text(record.pair)
        text = self._normalize_text(record.text)
        if isinstance(record.label, TokenLabels) and text != record.text:
            raise UserError(
                f"{record.where}: data.cleaning changes the text, in which labelled words have "
                "their places; clean such texts before they are labelled"
            )
        return record._replace(text=text, pair=pair)

    @property
    def changes_texts(self) -> bool:
        """Whether a text may not stay as it is."""
        changing = (self.html, self.breaks, self.control_characters == "drop", self.whitespace)
        return any(changing) or self.normal_form is not None

    def _normalize_text(self, text: str) -> str:
        if self.html:
            text = strip_html(text)
        if self.breaks:
            text = replace_break_tags(text)
        if self.control_characters == "drop":
            text = drop_control_characters(text)
        if self.normal_form is not None:
            text = apply_normal_form(text, self.normal_form)
        return collapse_whitespace(text) if self.whitespace else text

    def _find_unfit_reason(self, record: RawRecord) -> str | None:
        """Why a row is not worth training on, or None: both texts of a pair count together."""
        text = _join_texts(record)
        too_few_words = self.min_words is not None and len(text.split()) < self.min_words
        if too_few_words or (self.min_characters is not None and len(text) < self.min_characters):
            return "too_short"
        if self.max_characters is not None and len(text) > self.max_characters:
            return "too_long"
        if self.max_symbols is not None and compute_symbol_share(text) > self.max_symbols:
            return "symbols"
        return None

    def _find_drop_reason(self, record: RawRecord, labelled: bool) -> str | None:
        """Why the row cannot be used, or None. Raises UserError if the policy is "error"."""
        if not record.text.strip() or (record.pair is not None and not record.pair.strip()):
            if self.empty_text == "error":
                what = "pair" if record.text.strip() else "text"
                raise UserError(
                    f"{record.where}: the {what} is empty; data.cleaning.empty_text=drop leaves "
                    "such rows out"
                )
            return "empty_pair" if record.text.strip() else "empty_text"
        if labelled and record.label is None and self.missing_label != "keep":
            if self.missing_label == "error":
                raise UserError(
                    f"{record.where}: no label; data.cleaning.missing_label=drop leaves such rows "
                    "out"
                )
            return "missing_label"
        return None


def _join_texts(record: RawRecord) -> str:
    return record.text if record.pair is None else f"{record.text} {record.pair}"


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
