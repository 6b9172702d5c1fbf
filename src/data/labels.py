"""Labels as the file writes them -> class indices, or numbers."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from src.terms.fault import Fault, suggestion

Label = str | int | float | None

MANY = 1000  # classes; a column with more is taken for something else: a score, an id, the text
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")  # no leading zeros: "007" is a name


@dataclass(frozen=True)
class LabelSpace:
    """The classes, in the order of their indices.

    One label has many spellings: 1, 1.0, "1", "1.0" and true are the same. Otherwise labels are compared exactly.
    `values` is how the file writes each name. Where that is None, it may write the name itself or, unless a name is
    itself a number, the index.
    """

    names: tuple[str, ...]
    values: tuple[str, ...] | None = None
    origin: str = "declared"

    @classmethod
    def declared(cls, names: Sequence[str], values: Sequence[str | int] | None = None) -> Self:
        """The classes that a config names; `values` where the file writes other than names or 0 to n - 1."""
        if len(names) < 2:
            raise Fault(f"data.label_names has {len(names)} ({', '.join(names)}); a classifier needs at least 2")
        if values is not None and len(values) != len(names):
            raise Fault(f"data.label_values has {len(values)} for {len(names)} label names; expected one for each")
        for key, each in (("label_names", names), ("label_values", values or ())):
            spellings = [_spelling(one) for one in each]
            for one in sorted({one for one in spellings if spellings.count(one) > 1}):
                raise Fault(f"data.{key}: '{one}' stands there {spellings.count(one)} times")
        return cls(tuple(names), None if values is None else tuple(map(str, values)))

    @classmethod
    def discovered(cls, labels: Iterable[Label]) -> Self:
        """The classes that training rows have: by size where all are numbers, else by alphabet."""
        seen: set[str] = set()
        rows = 0
        for rows, label in enumerate(labels, start=1):
            if label is None:
                raise Fault(f"label {rows} of train is missing; classes are found among rows that have one")
            seen.add(_spelling(label))
            if len(seen) > MANY:
                raise Fault(f"more than {MANY} classes in the first {rows} rows of train; {_OTHERWISE}")
        if not seen:
            raise Fault("train has no rows with a label (data.source.label)")
        if len(seen) == 1:
            raise Fault(
                f"all {rows} rows of train have the label '{seen.pop()}'; a classifier needs at least 2 classes "
                "(data.source.label names their column)"
            )
        numbers = all(_NUMBER.fullmatch(each) for each in seen)
        if len(seen) > 10 and len(seen) > rows / 2:
            raise Fault(f"{len(seen)} classes in {rows} rows of train; {_OTHERWISE}")
        if len(seen) > 20 and numbers and any("." in each for each in seen):
            raise Fault(f"{len(seen)} classes that are all numbers, not all of them whole, in train; {_OTHERWISE}")
        names = tuple(sorted(seen, key=float) if numbers else sorted(seen))
        return cls(names, names, "found in train")  # values are given, too: an index is no spelling of a found class

    @cached_property
    def _indices(self) -> dict[str, int]:
        """Index of every spelling that is accepted."""
        named = [_spelling(each) for each in self.values or self.names]
        found = {each: index for index, each in enumerate(named)}
        if self.values is None and not any(_NUMBER.fullmatch(each) for each in named):
            found |= {str(index): index for index in range(len(named))}
        return found

    def index(self, label: Label, where: str) -> int:
        """The class of a label; a `Fault` that names `where` it stands if it has none."""
        if label is None:
            raise Fault(f"{where}: no label; expected one of {', '.join(self.values or self.names)}")
        found = self._indices.get(_spelling(label))
        if found is None:
            valid = self.values or self.names
            alike = [each for each in valid if each.casefold() == str(label).strip().casefold()]
            hint = f"did you mean '{alike[0]}'?" if alike else suggestion(label, valid)
            raise Fault(f"{where}: label {label!r} is none of the {len(valid)} classes {self.origin}; {hint}")
        return found


_OTHERWISE = "is it a score (then a regression objective fits), or is another column the label (data.source.label)?"


def _spelling(label: str | float) -> str:
    """One text for all spellings of a label: "1" for 1, 1.0, "1.0" and True; "0.5" for "0.50"."""
    text = str(int(label)) if isinstance(label, bool) else str(label)
    if not _NUMBER.fullmatch(text) or "." not in text:
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() else repr(number)


def value(label: Label, where: str) -> float:
    """The number of a regression label; a `Fault` that names `where` it stands if it is none or not finite."""
    if label is None:
        raise Fault(f"{where}: no label; expected a number")
    try:
        number = float(label)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or "_" in str(label):
        raise Fault(f"{where}: label {label!r} is not a finite number (a regression needs one; data.source.label)")
    return number
