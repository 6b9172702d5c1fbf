"""From what stands in a file to the label of a row, or to its labels, by options of `Source`."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from src.core.user_errors import UserError
from src.data.reading.table_rows import CHARACTER_NAMES
from src.data.rows.labels import LabelSet, RawLabel
from src.data.rows.odd_labels import describe_missing_number, is_missing_number, parse_choices
from src.data.rows.records import RawRecord
from src.data.rows.token_labels import TokenLabels
from src.data.rows.written_labels import parse_written_list, read_written_labels

# Numbers by what stands before their decimals; the other sign may part thousands.
_GROUPED_NUMBERS = {
    "comma": re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?"),
    "dot": re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?"),
}
# What may stand in a column that says whether a row has a label, beside numbers; in small letters.
YES_NO_WORDS = {
    **dict.fromkeys(("x", "yes", "y", "true", "t", "\u2713", "\u2714"), 1),
    **dict.fromkeys(("checked", "selected", "ticked", "marked", "chosen"), 1),
    **dict.fromkeys(("no", "n", "false", "f"), 0),
    **dict.fromkeys(
        (
            *("unchecked", "unselected", "deselected", "unticked", "unmarked"),
            *("not checked", "not selected", "not ticked", "not marked", "not chosen"),
        ),
        0,
    ),
}
_PLAIN_MARKS = ("0", "1", "0.0", "1.0", "true", "false")
_YES_NO_HINT = (
    "1 or 0, or a word for it: yes, no, true, false, x, checked, unchecked, selected, not selected"
)
_THRESHOLD_HINT = "data.source.label_threshold=0.5 takes values from 0.5 on for a yes"


class LabelReading(NamedTuple):
    """How labels are written.

    Args:
        columns: the names of columns that say of one label each whether a row has it; None where
            one column holds the label.
        separator: what parts several labels in a cell; None where it holds one.
        pattern: a regular expression with one group, the part of a label that counts; None: all.
        threshold: the least value that is a yes; None where a yes is 1 and a no is 0. The labels of
            a list of numbers are the places of its yes.
        decimal: what stands before the decimals of numbers, where the other sign parts thousands;
            None leaves numbers as they are.
    """

    columns: tuple[str, ...] | None = None
    separator: str | None = None
    pattern: str | None = None
    threshold: float | None = None
    decimal: Literal["dot", "comma"] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether labels are what stands in the file."""
        return self == LabelReading()

    def read_record(self, record: RawRecord) -> RawRecord:
        """A row as a reader found it, with its label or labels.

        Raises:
            UserError: what stands there is not written so.
        """
        if isinstance(record.label, TokenLabels | str) and self.is_plain:
            return read_written_labels(record)
        if isinstance(record.label, TokenLabels):
            raise UserError(
                f"{record.where}: the words of the text have tags, which are taken as they are "
                "(data.source.label_separator, label_pattern and label_threshold)"
            )
        label, remark = self._read_label(record.label, record.where)
        return record._replace(label=label, remark=record.remark or remark)

    def _read_label(
        self, found: RawLabel | LabelSet, where: str
    ) -> tuple[RawLabel | LabelSet, str | None]:
        """The label or labels, and a remark on how they were read. Where they are to be numbers,
        a mark for a missing one is no label,
        nor is one that does not match the pattern.
        """
        if found is None:
            return None, None
        if self.columns is not None:
            assert isinstance(found, tuple)
            cells = tuple(self._read_number(cell, where) for cell in found)
            return self._read_columns(self.columns, cells, where)
        if self.separator is not None and not isinstance(found, tuple):
            found = split_labels(str(found), self.separator)
        if self.threshold is not None and (written := parse_written_list(found)) is not None:
            found = tuple(written)
        if isinstance(found, tuple) and self.threshold is not None:
            return self._find_places(found, where), "whose labels are the places of ones in a list"
        if isinstance(found, tuple):
            _check_no_places(found, where)
            parts = [self._match(label, where) for label in found]
            numbers = (self._read_number(part, where) for part in parts if part is not None)
            return tuple(numbers), None
        about_numbers = self.threshold is not None or self.decimal is not None
        unfit = self.pattern is not None and re.search(self.pattern, str(found)) is None
        if (about_numbers or unfit) and is_missing_number(found):
            return None, describe_missing_number(str(found))
        part = self._match(found, where)
        if part is None:
            return None, None
        label = self._read_number(part, where)
        if self.threshold is None:
            return label, None
        return int(_parse_number(label, "the label", where) >= self.threshold), None

    def _read_number(self, cell: str | float, where: str) -> str | float:
        """A cell, as Python writes numbers where it writes them otherwise."""
        if self.decimal is None or not isinstance(cell, str) or not cell.strip():
            return cell
        text = cell.strip()
        point, group = (",", ".") if self.decimal == "comma" else (".", ",")
        if not _GROUPED_NUMBERS[self.decimal].fullmatch(text):
            raise UserError(
                f"no number with a {self.decimal} before its decimals",
                key="data.source.decimal",
                value=self.decimal,
                where=where,
                found=repr(cell),
            )
        return text.replace(group, "").replace(point, ".")

    def _read_columns(
        self, names: Sequence[str], cells: Sequence[Any], where: str
    ) -> tuple[LabelSet | None, str | None]:
        """The names of the columns that say yes; None if all are empty. A mark or a word for yes
        is one; beside such, and beside no word or number for no, an empty cell is a no. Of columns
        that are all called the same, the labels themselves that stand in them.
        """
        if all(cell == "" for cell in cells):
            return None, None
        if self.threshold is None and are_repeated_names(names) and not all(map(_is_mark, cells)):
            filled = (str(cell).strip() for cell in cells if cell != "")
            return tuple(dict.fromkeys(filled)), "whose labels stand in several columns"
        plain = [_read_choice(cell, name) for name, cell in zip(names, cells, strict=True)]
        remarks = []
        if plain != list(cells):
            remarks.append("whose label columns hold marks or words, read as 1 and 0")
        if self.threshold is None and "" in cells and not any(map(_is_no, plain)):
            plain = [cell if cell != "" else 0 for cell in plain]
            remarks.append("with empty label columns, read as 0")
        values = [
            _parse_number(cell, f"column '{name}'", where, _YES_NO_HINT)
            for name, cell in zip(names, plain, strict=True)
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
        found = tuple(name for name, value in zip(names, values, strict=True) if value >= least)
        return found, " and ".join(remarks) or None

    def _find_places(self, values: LabelSet, where: str) -> LabelSet:
        """The places, from 0 on, of the numbers in a list that say yes."""
        assert self.threshold is not None
        numbers = [_parse_number(value, "a part of the label", where) for value in values]
        return tuple(place for place, number in enumerate(numbers) if number >= self.threshold)

    def _match(self, label: str | float, where: str) -> str | float | None:
        """The part of a label that counts."""
        if self.pattern is None:
            return label
        found = re.search(self.pattern, str(label))
        if found is None:
            raise UserError(
                "does not match the label",
                key="data.source.label_pattern",
                value=self.pattern,
                where=where,
                found=repr(str(label)),
            )
        return found[1]


def _check_no_places(labels: LabelSet, where: str) -> None:
    """Raise UserError for a list that says of every label with 1 or 0 whether a row has it."""
    signs = ("0", "1", "0.0", "1.0")
    if all(str(label) in signs for label in labels) and len(set(labels)) < len(labels):
        raise UserError(
            f"{where}: the label is {list(labels)!r:.60}; a list of labels names those that a row "
            "has, and has no 1 or 0 for each; data.source.label_threshold=0.5 takes the places of "
            "its ones, from 0 on, for labels, which data.label_names names"
        )


def _is_no(cell: Any) -> bool:
    return str(cell).strip() in ("0", "0.0")


def guess_decimal(cells: Iterable[str]) -> Literal["dot", "comma"] | None:
    """How texts that are numbers are written, if Python does not read all of them: with dots before
    their decimals and commas between thousands, or with commas before their decimals.
    """
    numbers = [cell.strip() for cell in cells]
    commas = [number for number in numbers if "," in number]
    if not commas or not all(map(_GROUPED_NUMBERS["dot"].fullmatch, numbers)):
        return "comma" if has_decimal_commas(numbers) else None
    both = any("." in number or number.count(",") > 1 for number in commas)
    others = [number for number in numbers if "," not in number]
    # what has no comma is below a thousand, and all that have one are above
    small = bool(others) and all(abs(float(number)) < 1000 for number in others)
    above = not any(number.lstrip("+-").startswith("0") for number in commas)
    if both or (small and above and len(commas) > 1):
        return "dot"
    return "comma" if has_decimal_commas(numbers) else None


def has_decimal_commas(cells: Iterable[str]) -> bool:
    """Whether texts are numbers with a comma before their decimals, and no lists of whole numbers,
    which would rise.
    """
    numbers = [cell.strip() for cell in cells]
    parts = [number.lstrip("+-").split(",") for number in numbers if "," in number]
    return (
        all(map(_GROUPED_NUMBERS["comma"].fullmatch, numbers))
        and bool(parts)
        and any(
            fraction.startswith("0") or int(fraction) <= int(whole.replace(".", ""))
            for whole, fraction in parts
        )
    )


def split_labels(cell: str, separator: str) -> LabelSet:
    """The labels in a cell; brackets around all and quotes around each are left out, and so are
    those of "<a><b>", which is parted by "><". The only list
    in an object, as Label Studio's CSV has it ({"choices": ["a", "b"]}), is taken out of it, and a
    list that is written as JSON, Python or NumPy do has the labels that it has there.
    """
    if (labels := parse_choices(cell)) is not None:
        return labels
    written = parse_written_list(cell)
    # a number with decimals stays as it is written, where that shows
    if written and ("," not in cell or all(isinstance(one, str | int) for one in written)):
        return tuple(part for one in written if (part := str(one).strip()))
    inside = cell.strip()
    brackets = ("<", ">") if parse_separator(separator) == "><" else ("[", "]")
    if (inside[:1], inside[-1:]) == brackets:
        inside = inside[1:-1]
    parts = [part.strip() for part in inside.split(parse_separator(separator))]
    unquoted = [
        part[1:-1] if len(part) > 1 and part[0] == part[-1] and part[0] in "'\"" else part
        for part in parts
    ]
    return tuple(part for part in unquoted if part)


def parse_separator(name: str) -> str:
    """The characters that a config names, by themselves or in words."""
    return "\n" if name == "newline" else CHARACTER_NAMES.get(name, name)


def are_repeated_names(names: Sequence[str]) -> bool:
    """Whether columns are called as those of one name are told apart: tag, tag_2, tag_3."""
    return len(names) > 1 and list(names) == [
        names[0],
        *(f"{names[0]}_{number}" for number in range(2, len(names) + 1)),
    ]


def _is_mark(cell: Any) -> bool:
    """Whether a cell says yes or no, or nothing."""
    return cell == "" or _read_word(cell) != cell or str(cell).strip().lower() in _PLAIN_MARKS


def _read_choice(cell: Any, name: str) -> Any:
    """1 or 0 for a word, a mark or the column's own name, as SurveyMonkey writes a choice; other
    cells unchanged.
    """
    is_name = not _is_mark(cell) and str(cell).strip().lower() == name.strip().lower()
    return 1 if is_name else _read_word(cell)


def _read_word(cell: Any) -> Any:
    """1 or 0 for a word or a mark; other cells unchanged."""
    text = " ".join(str(cell).lower().replace("_", " ").split())
    # as ever, these two count as numbers
    return cell if text in ("true", "false") else YES_NO_WORDS.get(text, cell)


def _parse_number(cell: Any, what: str, where: str, expected: str = "a number") -> float:
    text = str(cell).strip().lower()
    try:
        return float({"true": "1", "false": "0"}.get(text, text))
    except ValueError:
        shown = f"{what} is empty" if not text else f"{what} is {str(cell)!r:.60}"
        raise UserError(
            f"{where}: {shown}; expected {expected} "
            "(data.source.label, data.source.label_threshold)"
        ) from None
