"""From labels as a file writes them to class indices."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from src.core.user_errors import UserError, did_you_mean, format_suggestion
from src.data.rows.token_labels import TOKEN_TASK_HINT, TokenLabels

RawLabel = str | int | float | None
# the labels of a row that may have several
LabelSet = tuple[str | int | float, ...]

# A column with more classes is probably something else: a score, an id, the text.
MAX_CLASSES = 1000
# Without leading zeros: "007" is a name.
_NUMBER_PATTERN = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_SCIENTIFIC_PATTERN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
# Unicode categories of what cannot be seen: white space, controls, zero-width and format marks.
_INVISIBLE_CATEGORIES = ("Zs", "Zl", "Zp", "Cc", "Cf")


@dataclass(frozen=True)
class LabelSpace:
    """The classes, in the order of their indices.

    One label has many spellings: 1, 1.0, "1", "1.0" and true are the same, -0 and 0, and what
    `normalize_label` makes equal. Otherwise labels are compared exactly. `values` is how the file
    writes each name. Where that is None, it may write the name itself or, unless a name is itself a
    number, the index.
    """

    names: tuple[str, ...]
    values: tuple[str, ...] | None = None
    origin: str = "declared"

    @classmethod
    def from_names(
        cls, names: Sequence[str | float], values: Sequence[str | float] | None = None
    ) -> Self:
        """The classes that a config names; a number names the class that is written so.

        Args:
            values: how the file writes them, if neither by name nor by index.

        Raises:
            UserError: fewer than 2 names, repeated ones, or another number of values.
        """
        if len(names) < 2:
            raise UserError(
                f"has {len(names)} ({', '.join(map(str, names))})",
                key="data.label_names",
                hint="a classifier needs at least 2",
                colon=False,
            )
        if values is not None and len(values) != len(names):
            raise UserError(
                f"has {len(values)} for {len(names)} label names",
                key="data.label_values",
                hint="expected one for each",
                colon=False,
            )
        for key, labels in (("label_names", names), ("label_values", values or ())):
            spellings = [canonical_spelling(one) for one in labels]
            for one in sorted({one for one in spellings if spellings.count(one) > 1}):
                raise UserError(
                    f"'{one}' stands there {spellings.count(one)} times", key=f"data.{key}"
                )
        return cls(
            tuple(map(canonical_spelling, names)),
            None if values is None else tuple(map(canonical_spelling, values)),
        )

    @classmethod
    def from_labels(cls, labels: Iterable[RawLabel]) -> Self:
        """The classes of the training rows, in numerical order if all are numbers, else sorted.

        Raises:
            UserError: a row without a label, fewer than 2 classes, or so many that the column is
                probably a score, an id or a text.
        """
        seen: set[str] = set()
        rows = 0
        for rows, label in enumerate(labels, start=1):
            if label is None:
                raise UserError(
                    f"label {rows} of train is missing; classes are found among rows that have one"
                )
            seen.add(canonical_spelling(label))
            if len(seen) > MAX_CLASSES:
                raise UserError(
                    f"more than {MAX_CLASSES} classes in the first {rows} rows of train; "
                    f"{_NOT_CLASSES_HINT}"
                )
        if not seen:
            raise UserError("train has no rows with a label (data.source.label)")
        if len(seen) == 1:
            raise UserError(
                f"all {rows} rows of train have the label '{seen.pop()}'; a classifier needs at "
                "least 2 classes "
                "(data.source.label names their column)"
            )
        if len(seen) > 2 and (fractions := _find_fractions(seen)):
            declared = ",".join(sorted(seen, key=float))
            raise UserError(
                f"{len(seen)} labels in train that are all numbers, not all of them whole "
                f"({', '.join(fractions[:3])}); {REGRESSION_HINT}"
                + (f", data.label_names=[{declared}] takes them as classes" * (len(seen) <= 20))
            )
        if len(seen) > 10 and len(seen) > rows / 2:
            raise UserError(f"{len(seen)} classes in {rows} rows of train; {_NOT_CLASSES_HINT}")
        names = sort_labels(seen)
        # with values given, an index is no spelling of a class
        return cls(names, names, "found in train")

    @cached_property
    def _index_by_spelling(self) -> dict[str, int]:
        """The class index of every accepted spelling."""
        named = [canonical_spelling(label) for label in self.values or self.names]
        index_by_text = {label: index for index, label in enumerate(named)}
        if self.values is None and not any(_NUMBER_PATTERN.fullmatch(label) for label in named):
            index_by_text |= {str(index): index for index in range(len(named))}
        return index_by_text

    def class_index(self, label: RawLabel, where: str) -> int:
        """The class index of a label. Raises UserError, with `where` it stands, if unknown."""
        if label is None:
            raise UserError(
                f"{where}: no label; expected one of {', '.join(self.values or self.names)}"
            )
        index = self._index_by_spelling.get(canonical_spelling(label))
        if index is None:
            valid = self.values or self.names
            alike = [name for name in valid if fold_look(name) == fold_look(str(label))]
            hint = did_you_mean(alike[0]) if alike else format_suggestion(label, valid)
            raise self._unknown_label_error(label, where, hint)
        return index

    def find_unknown_labels(self, labels: Iterable[RawLabel]) -> list[str | float]:
        """Those labels that are no class."""
        return [
            label
            for label in labels
            if label is not None and canonical_spelling(label) not in self._index_by_spelling
        ]

    def class_indices(self, labels: Mapping[RawLabel, str], split: str) -> list[int]:
        """The class index of every different label of a split.

        Args:
            labels: where the first row with each label stands.
            split: the split at the source, which a message names.

        Raises:
            UserError: a label that is no class, with the option that mends it: another spelling
                of all classes (`data.label_values`), or leaving out a split without labels.
        """
        if unknown := self.find_unknown_labels(labels):
            label = unknown[0]
            spellings = {canonical_spelling(one) for one in labels if one is not None}
            if spellings == {"-1"} and split != "train":
                raise self._unknown_label_error(
                    label,
                    labels[label],
                    f"-1 is the only one in {split}: does it stand for 'no label'? "
                    f"data.source.{split}=null leaves {split} out",
                )
            if "-1" in spellings and len(unknown) == 1:
                raise self._unknown_label_error(
                    label,
                    labels[label],
                    "does it stand for 'no label'? an empty cell does, and such rows are left out",
                )
            if (values := self.guess_values(spellings)) is not None:
                raise self._unknown_label_error(
                    label,
                    labels[label],
                    f"data.label_values=[{','.join(values)}] says that the data write "
                    f"{', '.join(self.names)} so",
                )
            if split != "train" and self.origin != "declared" and len(unknown) < len(labels):
                pairs = write_label_map({name: name for name in self.names})
                alike = {fold_look(name) for name in self.names} & {fold_look(str(label))}
                if pairs and not alike:
                    valid = ", ".join(self.names)
                    hint = f"valid: {valid}; {pairs} leaves out rows with other labels"
                    raise self._unknown_label_error(label, labels[label], hint)
        return [self.class_index(label, where) for label, where in labels.items()]

    def guess_values(self, spellings: set[str]) -> tuple[str, ...] | None:
        """How the data seem to write the declared names, in their order; None if that is open."""
        if self.values is not None or self.origin != "declared":
            return None
        by_look = {fold_look(one): one for one in spellings}
        if set(by_look) == {fold_look(name) for name in self.names}:
            found = tuple(by_look[fold_look(name)] for name in self.names)
            return found if all(one.isalnum() for one in found) else None
        count = len(self.names)
        counted = tuple(str(number) for number in range(1, count + 1))
        if spellings <= set(counted):
            return counted
        if len(spellings) == count and all(map(_NUMBER_PATTERN.fullmatch, spellings)):
            return tuple(sorted(spellings, key=float))
        return None

    def _unknown_label_error(self, label: RawLabel, where: str, hint: str) -> UserError:
        return UserError(
            f"{where}: label {label!r} is none of the {len(self.values or self.names)} classes "
            f"{self.origin}; {hint}"
        )


# Typed as it stands, it turns a classification of files into a regression.
REGRESSION_HINT = (
    "data.task=regression model=regression callbacks.checkpoint.monitor=val/pearson "
    "callbacks.checkpoint.mode=max predicts numbers"
)
_NOT_CLASSES_HINT = (
    f"is it a score ({REGRESSION_HINT}), or is another column the label (data.source.label)?"
)


# Typed as it stands, it turns a classification of files into one with several labels for a text.
MULTI_LABEL_HINT = (
    "data.task=multi_label model=multi_label callbacks.checkpoint.monitor=val/f1_macro "
    "callbacks.checkpoint.mode=max learns several"
)


def require_single_label(label: RawLabel | LabelSet | TokenLabels, where: str) -> RawLabel:
    """A label as it is, or the only one of a list, which is None of an empty one; raises UserError,
    with `where` it stands, for a row of several.
    """
    if isinstance(label, TokenLabels):
        raise _token_labels_error(where)
    if not isinstance(label, tuple):
        return label
    if len(label) < 2:
        return label[0] if label else None
    shown = ", ".join(map(str, label[:5])) + ", ..." * (len(label) > 5)
    raise UserError(
        f"{where}: {len(label)} labels ({shown}), but a text has one here; {MULTI_LABEL_HINT}"
    )


def _token_labels_error(where: str) -> UserError:
    return UserError(
        f"{where}: words of the text are labelled, but here a text has labels as a whole; "
        f"{TOKEN_TASK_HINT}"
    )


def as_label_set(label: RawLabel | LabelSet | TokenLabels, where: str = "") -> LabelSet:
    """The labels of a row, of which a plain label is the only one; raises UserError, with `where`
    it stands, where words have labels.
    """
    if isinstance(label, TokenLabels):
        raise _token_labels_error(where)
    if isinstance(label, tuple):
        return label
    return () if label is None else (label,)


def normalize_labels(labels: LabelSet) -> LabelSet:
    """The labels of a row as they are compared: each as `normalize_label` gives it, once, in an
    order of their own.
    """
    normal = {normalize_label(label) for label in labels}
    return tuple(sorted((label for label in normal if label is not None), key=str))


def normalize_label(label: RawLabel) -> RawLabel:
    """A label without invisible characters around it, its accents composed (Unicode NFC); None if
    nothing is left of it.
    """
    if not isinstance(label, str):
        return label
    if not label.isascii():
        label = unicodedata.normalize("NFC", label)
    begin, end = 0, len(label)
    while begin < end and unicodedata.category(label[begin]) in _INVISIBLE_CATEGORIES:
        begin += 1
    while end > begin and unicodedata.category(label[end - 1]) in _INVISIBLE_CATEGORIES:
        end -= 1
    return label[begin:end] or None


def canonical_spelling(label: str | float) -> str:
    """One text for all spellings of a label: "1" for 1, 1.0 and True, "0.5" for "0.50"."""
    text = str(int(label)) if isinstance(label, bool) else str(normalize_label(label) or "")
    if isinstance(label, int | float) and not label:
        return "0"
    if text == "-0":
        return "0"
    if not _NUMBER_PATTERN.fullmatch(text) or "." not in text:
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() else repr(number)


def sort_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels in numerical order if all are numbers, else sorted."""
    found = list(labels)
    numbers = all(_NUMBER_PATTERN.fullmatch(label) for label in found)
    return tuple(sorted(found, key=float) if numbers else sorted(found))


def _find_fractions(labels: Iterable[str]) -> list[str]:
    """The labels that are not whole numbers, if all are numbers; else none."""
    ordered = sorted(labels)
    if not all(map(_SCIENTIFIC_PATTERN.fullmatch, ordered)):
        return []
    return [label for label in ordered if not float(label).is_integer()]


def write_label_map(names: Mapping[str, str]) -> str:
    """The option that gives labels other names, as it is typed; empty where it is long or a label
    needs quotes.
    """
    plain = all(
        re.fullmatch(r"[A-Za-z][\w-]*( [\w-]+)*|\d+", one, re.ASCII)
        and one.lower() not in ("true", "false", "null", "nan", "inf")
        for one in names
    )
    if len(names) > 8 or not plain:
        return ""
    return f"'data.label_map={{{', '.join(f'{old}: {new}' for old, new in names.items())}}}'"


def fold_look(label: str) -> str:
    """What is left of a label without capitals, white space, invisible marks and full widths."""
    folded = unicodedata.normalize("NFKC", label).casefold()
    return "".join(
        letter for letter in folded if unicodedata.category(letter) not in _INVISIBLE_CATEGORIES
    )
