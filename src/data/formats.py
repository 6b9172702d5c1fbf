"""One reader for each file format. Each streams `Record`s and names file and line of whatever it cannot read.

Line numbers and row numbers count from 1. A null text is an empty one, as an empty cell is (`Cleaning.empty_text` deals
with it); an empty cell, a null and a NaN are a missing label; true and false are the labels 1 and 0.
"""

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from src.data.decoding import File, lines
from src.terms.fault import Fault, suggestion

FIELD_LIMIT = 1 << 24  # characters in one CSV cell: 16 million, ten times the longest novel; beyond it a quote is open


class Record(NamedTuple):
    """One row as found: nothing cleaned, nothing converted."""

    text: str
    pair: str | None
    label: str | int | float | None
    where: str


class Columns(NamedTuple):
    """Which columns to take: names, or positions from 0 in a table without a header."""

    text: str | int
    pair: str | int | None
    label: str | int | None

    def wanted(self) -> dict[str, str | int]:
        """The columns that are asked for, by the last part of the key that asks."""
        return {key: column for key, column in self._asdict().items() if column is not None}


def table(
    file: File, columns: Columns, *, delimiter: str, encoding: str, header: bool, quoting: bool
) -> Iterator[Record]:
    """CSV or TSV. With a header every row must be as wide as it; without, rows may carry further columns."""
    rows = _cells(file, delimiter, encoding, quoting)
    names: list[str] = []
    if header:
        _, names = next(rows, (0, []))
        if not names:
            return
        if fault := lacking(file.name, columns, names, headed=True):
            raise fault
    found = {key: names.index(str(each)) if header else int(each) for key, each in columns.wanted().items()}
    text, pair, label = found["text"], found.get("pair"), found.get("label")
    width = len(names) if header else max(found.values()) + 1
    for line, row in rows:
        if len(row) < width or (header and len(row) > width):
            expected = f"the header has {width}" if header else f"data.source asks for at least {width}"
            raise Fault(
                f"{file.name}, line {line}: {len(row)} columns, {expected}; is a quote or separator missing? "
                "(data.source.format, data.source.quoting)"
            )
        value = None if label is None or not row[label].strip() else row[label]
        yield Record(row[text], None if pair is None else row[pair], value, f"{file.name}, line {line}")


def table_header(file: File, *, delimiter: str, encoding: str, quoting: bool) -> list[str]:
    """The first row that is not blank."""
    return next((row for _, row in _cells(file, delimiter, encoding, quoting)), [])


def _cells(file: File, delimiter: str, encoding: str, quoting: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows of a table with the line on which each begins; blank lines are passed over."""
    csv.field_size_limit(max(csv.field_size_limit(), FIELD_LIMIT))
    rows = csv.reader(
        lines(file, encoding, newline=""),
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
            raise Fault(_misquoted(file, start, rows.line_num, error)) from error
        if row:
            yield start, row


def _misquoted(file: File, start: int, end: int, error: csv.Error) -> str:
    remedy = "data.source.quoting=false where quotes are ordinary characters"
    if "unexpected end of data" in str(error) or "field limit" in str(error):
        return f"{file.name}, line {start}: the row that begins here opens a quote that is never closed; {remedy}"
    return f"{file.name}, line {start}: bad quoting in the row that ends on line {end}: {error}; {remedy}"


_PARTED = {
    "\t": "tabs: data.source.format=tsv",
    ";": "semicolons, which are not read; save it with commas or tabs",
    ",": "commas: data.source.format=csv",
}


def lacking(name: str, columns: Columns, names: Sequence[str], *, headed: bool = False) -> Fault | None:
    """The fault of a table whose header `names` lacks a column that is asked for, or has it twice.

    `headed` says that the names are the first line of a CSV or TSV file, which may have none, or other separators.
    """
    for key, column in columns.wanted().items():
        if column not in names:
            hint = suggestion(column, names)
            if headed and len(names) == 1 and (parted := next((each for each in _PARTED if each in names[0]), None)):
                hint = f"its columns are parted by {_PARTED[parted]}"
            elif hint.startswith("did"):
                hint = f"{hint} Columns: {', '.join(names)}"
            elif headed:
                hint = f"{hint} (data.source.header=false where the first line holds no names)"
            return Fault(f"data.source.{key}={column}: {name} has no such column; {hint}")
        if names.count(str(column)) > 1:
            return Fault(f"data.source.{key}={column}: {name} has {names.count(str(column))} columns of that name")
    return None


def json_lines(file: File, columns: Columns, *, encoding: str) -> Iterator[Record]:
    """One JSON object a line. The first has to have every column; later ones may leave out pair and label."""
    first = True
    for where, row in _objects(file, encoding):
        if first and (fault := lacking(where, columns, list(row))):
            raise fault
        first = False
        if columns.text not in row:
            raise Fault(
                f"{where}: no '{columns.text}' (data.source.text={columns.text}); {suggestion(columns.text, row)}"
            )
        yield record(columns, row, where)


def json_keys(file: File, *, encoding: str) -> list[str]:
    """The keys of the first object."""
    return next((list(row) for _, row in _objects(file, encoding)), [])


_KINDS: dict[type, str] = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}


def _objects(file: File, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(lines(file, encoding), start=1):
        if not line.strip():
            continue
        where = f"{file.name}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
            raise Fault(f"{where}: not valid JSON ({reason}); expected one JSON object a line") from error
        if not isinstance(row, dict):
            kind = _KINDS.get(type(row), "null")
            raise Fault(f"{where}: {kind} and no object; expected one JSON object a line")
        yield where, row


def parquet(file: File, columns: Columns) -> Iterator[Record]:
    """Parquet, batch by batch, only the columns that are asked for."""
    if fault := lacking(file.name, columns, parquet_names(file)):
        raise fault
    import pyarrow
    from pyarrow.parquet import ParquetFile

    row = 0
    try:
        with ParquetFile(file.path) as table:
            for batch in table.iter_batches(batch_size=1024, columns=[str(c) for c in columns.wanted().values()]):
                for values in batch.to_pylist():
                    row += 1
                    yield record(columns, values, f"{file.name}, row {row}")
    except pyarrow.ArrowException as error:
        raise Fault(f"{file.name}: broken Parquet data after row {row} ({error})") from error


def parquet_names(file: File) -> list[str]:
    """The columns, from the file's footer."""
    import pyarrow
    from pyarrow.parquet import read_schema

    size = file.path.stat().st_size
    with file.path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(0, size - 4))
        whole = head == stream.read(4) == b"PAR1"
    if file.path.suffix == ".gz":
        raise Fault(f"{file.name}: Parquet is compressed inside; unpack the file (gunzip {file.name})")
    if not whole:
        what = "cut off" if head == b"PAR1" else "not a Parquet file"
        raise Fault(f"{file.name}: {what}; its {size:,} bytes should begin and end with PAR1")
    try:
        return list(read_schema(file.path).names)
    except pyarrow.ArrowException as error:
        raise Fault(f"{file.name}: not a Parquet file ({error})") from error


def record(columns: Columns, row: dict[str, Any], where: str) -> Record:
    text = _text(row[str(columns.text)], "text", columns.text, where)
    pair = None if columns.pair is None else _text(row.get(str(columns.pair)), "pair", columns.pair, where)
    return Record(text, pair, None if columns.label is None else label(row.get(str(columns.label)), where), where)


def _text(value: Any, key: str, column: str | int, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Fault(
            f"{where}: '{column}' is {value!r:.60} ({type(value).__name__}); expected a text (data.source.{key})"
        )
    if not value.isascii() and re.search("[\ud800-\udfff]", value):
        raise Fault(f"{where}: '{column}' has half of a surrogate pair, which is not a character")
    return value


def label(value: Any, where: str) -> str | int | float | None:
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
        raise Fault(
            f"{where}: the label is {value!r:.60} ({type(value).__name__}); expected one text or number "
            "(data.source.label)"
        )
    return value


def documents(
    file: File, *, encoding: str, document: Literal["line", "paragraph", "file"], heading: str | None
) -> Iterator[Record]:
    """Plain text. Blank lines part paragraphs and are never documents; what stands before the first heading is one."""
    title = re.compile(heading) if heading is not None else None
    block: list[str] = []
    start = 1

    def finished() -> Iterator[Record]:
        text = "\n".join(block).strip("\n")
        if text.strip() or (document == "file" and title is None):
            yield Record(text, None, file.label, f"{file.name}, line {start}")
        block.clear()

    for number, ended in enumerate(lines(file, encoding), start=1):
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


def labelled_lines(file: File, *, encoding: str, labelled: bool) -> Iterator[Record]:
    """Lines `<label> <sentence>`: the label is what stands before the first white space."""
    for number, line in enumerate(lines(file, encoding), start=1):
        if not line.strip():
            continue
        first, *rest = line.strip("\n").split(maxsplit=1)
        yield Record("".join(rest), None, first if labelled else None, f"{file.name}, line {number}")


def counted(records: Iterable[Record], name: str) -> Iterator[Record]:
    """The same records; a `Fault` where there is none."""
    empty = True
    for record in records:
        empty = False
        yield record
    if empty:
        raise Fault(f"{name}: no rows in it")
