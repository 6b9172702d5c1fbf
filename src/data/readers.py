"""One reader for each file format. It streams `RawRecord`s, and its errors name file and line.

Line numbers and row numbers count from 1. A null text is an empty one, as an empty cell is
(`Cleaning.empty_text` deals with it); an empty cell, a null and a NaN are a missing label; true and
false are the labels 1 and 0.
"""

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from src.core.user_errors import UserError, format_suggestion, suggest
from src.data.decoding import InputFile, read_text_lines
from src.data.records import RawRecord

# In one CSV cell: 16 million, ten times the longest novel. A longer cell has an unclosed quote.
MAX_FIELD_CHARACTERS = 1 << 24


class ColumnSelection(NamedTuple):
    """Which columns to take: names, or positions from 0 in a table without a header."""

    text: str | int
    pair: str | int | None
    label: str | int | None

    def requested_columns(self) -> dict[str, str | int]:
        """The requested columns, by the last part of their config key: text, pair, label."""
        return {key: column for key, column in self._asdict().items() if column is not None}


def read_table(
    file: InputFile,
    columns: ColumnSelection,
    *,
    delimiter: str,
    encoding: str,
    header: bool,
    quoting: bool,
) -> Iterator[RawRecord]:
    """Read CSV or TSV.

    With a header all rows must have its width. Without one, rows may have further columns.
    """
    rows = _iter_table_rows(file, delimiter, encoding, quoting)
    names: list[str] = []
    if header:
        _, names = next(rows, (0, []))
        if not names:
            return
        if column_error := find_column_error(file.name, columns, names, has_header_line=True):
            raise column_error
    positions = {
        key: names.index(str(column)) if header else int(column)
        for key, column in columns.requested_columns().items()
    }
    text, pair, label = positions["text"], positions.get("pair"), positions.get("label")
    width = len(names) if header else max(positions.values()) + 1
    for line, row in rows:
        if len(row) < width or (header and len(row) > width):
            expected = (
                f"the header has {width}" if header else f"data.source asks for at least {width}"
            )
            raise UserError(
                f"{file.name}, line {line}: {len(row)} columns, {expected}; is a quote or "
                "separator missing? "
                "(data.source.format, data.source.quoting)"
            )
        value = None if label is None or not row[label].strip() else row[label]
        yield RawRecord(
            row[text], None if pair is None else row[pair], value, f"{file.name}, line {line}"
        )


def read_table_header(
    file: InputFile, *, delimiter: str, encoding: str, quoting: bool
) -> list[str]:
    """The first row that is not blank; empty if there is none."""
    return next((row for _, row in _iter_table_rows(file, delimiter, encoding, quoting)), [])


def _iter_table_rows(
    file: InputFile, delimiter: str, encoding: str, quoting: bool
) -> Iterator[tuple[int, list[str]]]:
    """Rows of a table with the line on which each begins; blank lines are passed over."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))
    rows = csv.reader(
        read_text_lines(file, encoding, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE,
        strict=True,
    )
    while True:
        start = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(_quoting_error_message(file, start, rows.line_num, error)) from error
        if row:
            yield start, row


def _quoting_error_message(file: InputFile, start: int, end: int, error: csv.Error) -> str:
    remedy = "data.source.quoting=false where quotes are ordinary characters"
    if "unexpected end of data" in str(error) or "field limit" in str(error):
        return (
            f"{file.name}, line {start}: the row that begins here opens a quote that is "
            f"never closed; {remedy}"
        )
    return (
        f"{file.name}, line {start}: bad quoting in the row that ends on line {end}: "
        f"{error}; {remedy}"
    )


_SEPARATOR_HINTS = {
    "\t": "tabs: data.source.format=tsv",
    ";": "semicolons, which are not read; save it with commas or tabs",
    ",": "commas: data.source.format=csv",
}


def find_column_error(
    name: str, columns: ColumnSelection, names: Sequence[str], *, has_header_line: bool = False
) -> UserError | None:
    """The error of a table that lacks a requested column or has it twice; None if it is fine.

    Args:
        name: how the message calls the table.
        names: of its columns.
        has_header_line: whether the names are the first line of a CSV or TSV file, which may be no
            header, or have other separators.
    """
    for key, column in columns.requested_columns().items():
        if column not in names:
            hint, alternative = format_suggestion(column, names), None
            if (
                has_header_line
                and len(names) == 1
                and (
                    parted := next(
                        (separator for separator in _SEPARATOR_HINTS if separator in names[0]), None
                    )
                )
            ):
                hint = f"its columns are parted by {_SEPARATOR_HINTS[parted]}"
            elif suggest(column, names) is not None:
                hint = f"{hint} Columns: {', '.join(names)}"
            elif has_header_line:
                alternative = "data.source.header", "false where the first line holds no names"
            return UserError(
                f"{name} has no such column",
                key=f"data.source.{key}",
                value=column,
                hint=hint,
                alternative=alternative,
            )
        if names.count(str(column)) > 1:
            return UserError(
                f"{name} has {names.count(str(column))} columns of that name",
                key=f"data.source.{key}",
                value=column,
            )
    return None


def read_json_lines(
    file: InputFile, columns: ColumnSelection, *, encoding: str
) -> Iterator[RawRecord]:
    """Read JSON Lines: one object a line.

    The first must have all columns; later ones may leave out pair and label.
    """
    first = True
    for where, row in _iter_json_objects(file, encoding):
        if first and (column_error := find_column_error(where, columns, list(row))):
            raise column_error
        first = False
        if columns.text not in row:
            raise UserError(
                f"{where}: no '{columns.text}' (data.source.text={columns.text}); "
                f"{format_suggestion(columns.text, row)}"
            )
        yield build_record(columns, row, where)


def read_json_keys(file: InputFile, *, encoding: str) -> list[str]:
    """The keys of the first object; empty if there is none."""
    return next((list(row) for _, row in _iter_json_objects(file, encoding)), [])


_JSON_TYPE_NAMES: dict[type, str] = {
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
}


def _iter_json_objects(file: InputFile, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(read_text_lines(file, encoding), start=1):
        if not line.strip():
            continue
        where = f"{file.name}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = (
                f"{error.msg} at column {error.colno}"
                if isinstance(error, json.JSONDecodeError)
                else error
            )
            raise UserError(
                f"{where}: not valid JSON ({reason}); expected one JSON object a line"
            ) from error
        if not isinstance(row, dict):
            kind = _JSON_TYPE_NAMES.get(type(row), "null")
            raise UserError(f"{where}: {kind} and no object; expected one JSON object a line")
        yield where, row


def read_parquet(file: InputFile, columns: ColumnSelection) -> Iterator[RawRecord]:
    """Read the requested columns of a Parquet file, batch by batch."""
    if column_error := find_column_error(file.name, columns, read_parquet_columns(file)):
        raise column_error
    import pyarrow
    from pyarrow.parquet import ParquetFile

    row = 0
    try:
        with ParquetFile(file.path) as table:
            for batch in table.iter_batches(
                batch_size=1024, columns=[str(c) for c in columns.requested_columns().values()]
            ):
                for values in batch.to_pylist():
                    row += 1
                    yield build_record(columns, values, f"{file.name}, row {row}")
    except pyarrow.ArrowException as error:
        raise UserError(f"{file.name}: broken Parquet data after row {row} ({error})") from error


def read_parquet_columns(file: InputFile) -> list[str]:
    """The column names in the file's footer."""
    import pyarrow
    from pyarrow.parquet import read_schema

    size = file.path.stat().st_size
    with file.path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(0, size - 4))
        whole = head == stream.read(4) == b"PAR1"
    if file.path.suffix == ".gz":
        raise UserError(
            f"{file.name}: Parquet is compressed inside; unpack the file (gunzip {file.name})"
        )
    if not whole:
        what = "cut off" if head == b"PAR1" else "not a Parquet file"
        raise UserError(f"{file.name}: {what}; its {size:,} bytes should begin and end with PAR1")
    try:
        return list(read_schema(file.path).names)
    except pyarrow.ArrowException as error:
        raise UserError(f"{file.name}: not a Parquet file ({error})") from error


def build_record(columns: ColumnSelection, row: dict[str, Any], where: str) -> RawRecord:
    text = _check_text(row[str(columns.text)], "text", columns.text, where)
    pair = (
        None
        if columns.pair is None
        else _check_text(row.get(str(columns.pair)), "pair", columns.pair, where)
    )
    return RawRecord(
        text,
        pair,
        None if columns.label is None else parse_label(row.get(str(columns.label)), where),
        where,
    )


def _check_text(value: Any, key: str, column: str | int, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(
            f"{where}: '{column}' is {value!r:.60} ({type(value).__name__}); expected a text "
            f"(data.source.{key})"
        )
    if not value.isascii() and re.search("[\ud800-\udfff]", value):
        raise UserError(
            f"{where}: '{column}' has half of a surrogate pair, which is not a character"
        )
    return value


def parse_label(value: Any, where: str) -> str | int | float | None:
    """A label as a reader found it, or None where it is missing."""
    if (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    ):
        return None
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str | int | float):
        raise UserError(
            f"{where}: the label is {value!r:.60} ({type(value).__name__}); expected one text or "
            "number "
            "(data.source.label)"
        )
    return value


def read_documents(
    file: InputFile,
    *,
    encoding: str,
    document: Literal["line", "paragraph", "file"],
    heading: str | None,
) -> Iterator[RawRecord]:
    """Read plain text: a document per line, paragraph or file, or from heading to heading.

    Blank lines separate paragraphs and are never documents. With headings, the text before the
    first one is a document of its own.

    Args:
        heading: regular expression that a heading matches; None for no headings.
    """
    title = re.compile(heading) if heading is not None else None
    block: list[str] = []
    start = 1

    def finished() -> Iterator[RawRecord]:
        text = "\n".join(block).strip("\n")
        if text.strip() or (document == "file" and title is None):
            yield RawRecord(text, None, file.label, f"{file.name}, line {start}")
        block.clear()

    for number, ended in enumerate(read_text_lines(file, encoding), start=1):
        line = ended.rstrip("\n")
        if title is not None:
            ends = title.search(line) is not None
        else:
            ends = document == "line" or (document == "paragraph" and not line.strip())
        if ends:
            yield from finished()
        if not block:
            start = number
        if block or line.strip():
            block.append(line)
    yield from finished()


def read_labelled_lines(file: InputFile, *, encoding: str, labelled: bool) -> Iterator[RawRecord]:
    """Read lines `<label> <sentence>`, where the label ends at the first white space."""
    for number, line in enumerate(read_text_lines(file, encoding), start=1):
        if not line.strip():
            continue
        first, *rest = line.strip("\n").split(maxsplit=1)
        yield RawRecord(
            "".join(rest), None, first if labelled else None, f"{file.name}, line {number}"
        )


def require_records(records: Iterable[RawRecord], name: str) -> Iterator[RawRecord]:
    """Pass records through; raise UserError if there is none."""
    empty = True
    for record in records:
        empty = False
        yield record
    if empty:
        raise UserError(f"{name}: no rows in it")
