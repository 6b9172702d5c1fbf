"""From labels as a file writes them to class indices, or to numbers for regression."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from src.core.user_errors import UserError, did_you_mean, format_suggestion

RawLabel = str | int | float | None

# A column with more classes is probably something else: a score, an id, the text.
MAX_CLASSES = 1000
# Without leading zeros: "007" is a name.
_NUMBER_PATTERN = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")


@dataclass(frozen=True)
class LabelSpace:
    """The classes, in the order of their indices.

    One label has many spellings: 1, 1.0, "1", "1.0" and true are the same. Otherwise labels are
    compared exactly. `values` is how the file writes each name. Where that is None, it may write
    the name itself or, unless a name is itself a number, the index.
    """

    names: tuple[str, ...]
    values: tuple[str, ...] | None = None
    origin: str = "declared"

    @classmethod
    def from_names(cls, names: Sequence[str], values: Sequence[str | int] | None = None) -> Self:
        """The classes that a config names.

        Args:
            values: how the file writes them, if neither by name nor by index.

        Raises:
            UserError: fewer than 2 names, repeated ones, or another number of values.
        """
        if len(names) < 2:
            raise UserError(
                f"has {len(names)} ({', '.join(names)})",
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
            spellings = [_canonical_spelling(one) for one in labels]
            for one in sorted({one for one in spellings if spellings.count(one) > 1}):
                raise UserError(
                    f"'{one}' stands there {spellings.count(one)} times", key=f"data.{key}"
                )
        return cls(tuple(names), None if values is None else tuple(map(str, values)))

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
            seen.add(_canonical_spelling(label))
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
        numbers = all(_NUMBER_PATTERN.fullmatch(label) for label in seen)
        if len(seen) > 10 and len(seen) > rows / 2:
            raise UserError(f"{len(seen)} classes in {rows} rows of train; {_NOT_CLASSES_HINT}")
        if len(seen) > 20 and numbers and any("." in label for label in seen):
            raise UserError(
                f"{len(seen)} classes that are all numbers, not all of them whole, in train; "
                f"{_NOT_CLASSES_HINT}"
            )
        names = tuple(sorted(seen, key=float) if numbers else sorted(seen))
        # with values given, an index is no spelling of a class
        return cls(names, names, "found in train")

    @cached_property
    def _index_by_spelling(self) -> dict[str, int]:
        """The class index of every accepted spelling."""
        named = [_canonical_spelling(label) for label in self.values or self.names]
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
        index = self._index_by_spelling.get(_canonical_spelling(label))
        if index is None:
            valid = self.values or self.names
            alike = [name for name in valid if name.casefold() == str(label).strip().casefold()]
            hint = did_you_mean(alike[0]) if alike else format_suggestion(label, valid)
            raise UserError(
                f"{where}: label {label!r} is none of the {len(valid)} classes {self.origin}; "
                f"{hint}"
            )
        return index


_NOT_CLASSES_HINT = (
    "is it a score (then a regression objective fits), or is another column "
    "the label (data.source.label)?"
)


def _canonical_spelling(label: str | float) -> str:
    """One text for all spellings of a label: "1" for 1, 1.0 and True, "0.5" for "0.50"."""
    text = str(int(label)) if isinstance(label, bool) else str(label)
    if not _NUMBER_PATTERN.fullmatch(text) or "." not in text:
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() else repr(number)


def parse_regression_target(label: RawLabel, where: str) -> float:
    """The number of a regression label; raises UserError, with `where`, if it is no finite one."""
    if label is None:
        raise UserError(f"{where}: no label; expected a number")
    try:
        number = float(label)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or "_" in str(label):
        raise UserError(
            f"{where}: label {label!r} is not a finite number (a regression needs one; "
            "data.source.label)"
        )
    return number
