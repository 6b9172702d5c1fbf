"""From what stands in a file to the label of a row, or to its labels, by options of `Source`."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from src.core.user_errors import UserError
from src.data.reading.table_rows import CHARACTER_NAMES
from src.data.rows.labels import LabelSet, RawLabel
from src.data.rows.records import RawRecord
from src.data.rows.token_labels import TokenLabels

# A dot may part thousands.
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?")
_THRESHOLD_HINT = "data.source.label_threshold=0.5 takes values from 0.5 on for a yes"


class LabelReading(NamedTuple):
    """How labels are written.

    Args:
        columns: the names of columns that say of one label each whether a row has it; None where
            one column holds the label.
        separator: what parts several labels in a cell; None where it holds one.
        pattern: a regular expression with one group, the part of a label that counts; None: all.
        threshold: the least value that is a yes; None where a yes is 1 and a no is 0.
        decimal_comma: whether a comma stands before the decimals of numbers.
    """

    columns: tuple[str, ...] | None = None
    separator: str | None = None
    pattern: str | None = None
    threshold: float | None = None
    decimal_comma: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether labels are what stands in the file."""
        return self == LabelReading()

    def read_record(self, record: RawRecord) -> RawRecord:
        """A row as a reader found it, with its label or labels.

        Raises:
            UserError: what stands there is not written so.
        """
        if isinstance(record.label, TokenLabels) and self.is_plain:
            return record
        if isinstance(record.label, TokenLabels):
            raise UserError(
                f"{record.where}: the words of the text have tags, which are taken as they are "
                "(data.source.label_separator, label_pattern and label_threshold)"
            )
        return record._replace(label=self._read_label(record.label, record.where))

    def _read_label(self, found: RawLabel | LabelSet, where: str) -> RawLabel | LabelSet:
        if found is None:
            return None
        if self.decimal_comma:
            cells = found if isinstance(found, tuple) else (found,)
            numbers = tuple(_read_decimal_comma(cell, where) for cell in cells)
            found = numbers if isinstance(found, tuple) else numbers[0]
        if self.columns is not None:
            assert isinstance(found, tuple)
            return self._read_columns(self.columns, found, where)
        if self.threshold is not None and not isinstance(found, tuple):
            return int(_parse_number(found, "the label", where) >= self.threshold)
        if self.separator is not None and not isinstance(found, tuple):
            found = split_labels(str(found), self.separator)
        if self.pattern is None:
            return found
        if isinstance(found, tuple):
            parts = [self._match(self.pattern, label, where) for label in found]
            return tuple(part for part in parts if part is not None)
        return self._match(self.pattern, found, where)

    def _read_columns(
        self, names: Sequence[str], cells: Sequence[Any], where: str
    ) -> LabelSet | None:
        """The names of the columns that say yes; None if all are empty."""
        if all(cell == "" for cell in cells):
            return None
        values = [
            _parse_number(cell, f"column '{name}'", where)
            for name, cell in zip(names, cells, strict=True)
        ]
        if self.threshold is None:
            for name, value in zip(names, values, strict=True):
                if value not in (0, 1):
                    hint = (
                        "data.source.test=null leaves out test where nobody has judged it"
                        if value == -1
                        else _THRESHOLD_HINT
                    )
                    raise UserError(
                        f"{where}: column '{name}' is {value:g}, but the columns of "
                        f"data.source.label say with 1 and 0 which labels a row has; {hint}"
                    )
        least = 1 if self.threshold is None else self.threshold
        return tuple(name for name, value in zip(names, values, strict=True) if value >= least)

    @staticmethod
    def _match(pattern: str, label: str | float, where: str) -> str | None:
        found = re.search(pattern, str(label))
        if found is None:
            raise UserError(
                "does not match the label",
                key="data.source.label_pattern",
                value=pattern,
                where=where,
                found=repr(str(label)),
            )
        return found[1]


def has_decimal_commas(cells: Iterable[str]) -> bool:
    """Whether texts are numbers with a comma before their decimals, and no lists of whole numbers,
    which would rise.
    """
    numbers = [cell.strip() for cell in cells]
    parts = [number.lstrip("+-").split(",") for number in numbers if "," in number]
    return (
        all(map(_DECIMAL_COMMA.fullmatch, numbers))
        and bool(parts)
        and any(
            fraction.startswith("0") or int(fraction) <= int(whole.replace(".", ""))
            for whole, fraction in parts
        )
    )


def _read_decimal_comma(cell: str | float, where: str) -> str | float:
    """The number that a text writes with a comma before its decimals, as Python writes it."""
    if not isinstance(cell, str) or not cell.strip():
        return cell
    if not _DECIMAL_COMMA.fullmatch(cell.strip()):
        raise UserError(
            "no number with a comma before its decimals",
            key="data.source.decimal",
            value="comma",
            where=where,
            found=repr(cell),
        )
    return cell.strip().replace(".", "").replace(",", ".")


def split_labels(cell: str, separator: str) -> LabelSet:
    """The labels in a cell; brackets around all and quotes around each are left out."""
    inside = cell.strip()
    if inside[:1] == "[" and inside[-1:] == "]":
        inside = inside[1:-1]
    parts = [part.strip() for part in inside.split(parse_separator(separator))]
    unquoted = [
        part[1:-1] if len(part) > 1 and part[0] == part[-1] and part[0] in "'\"" else part
        for part in parts
    ]
    return tuple(part for part in unquoted if part)


def parse_separator(name: str) -> str:
    """The characters that a config names, by themselves or in words."""
    return CHARACTER_NAMES.get(name, name)


def _parse_number(cell: Any, what: str, where: str) -> float:
    text = str(cell).strip().lower()
    try:
        return float({"true": "1", "false": "0"}.get(text, text))
    except ValueError:
        shown = f"{what} is empty" if not text else f"{what} is {str(cell)!r:.60}"
        raise UserError(
            f"{where}: {shown}; expected a number (data.source.label, data.source.label_threshold)"
        ) from None
