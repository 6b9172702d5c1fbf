"""One reader for each file format. It streams `RawRecord`s, and its errors name file and line.

Line numbers and row numbers count from 1. A null text is an empty one, as an empty cell is
(`Cleaning.empty_text` deals with it); an empty cell, a null and a NaN are a missing label; true and
false are the labels 1 and 0.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from src.core.user_errors import UserError
from src.data.reading.bad_rows import RowErrors, mark_unreadable
from src.data.reading.columns import (
    ColumnSelection,
    build_record,
    check_columns,
    clear_unknown_classes,
)
from src.data.reading.decoding import InputFile, detect_no_data, find_line_error, read_text_lines
from src.data.reading.packed_files import is_packed
from src.data.rows.nested_values import look_up
from src.data.rows.records import RawRecord

_BUFFER_BYTES = 1 << 20
# Every label of fastText begins with it.
FASTTEXT_MARK = "__label__"
_LAST_LABELS = re.compile(rf"(\s+{FASTTEXT_MARK}\S+)+\s*$")
# What stands before a text: labels with that mark, else one word.
_LINE_LABELS = re.compile(
    rf"\s*((?:{FASTTEXT_MARK}\S+\s+(?:,\s+)?)*{FASTTEXT_MARK}\S+(?:\s+,(?=\s))?|\S+)\s*"
)


def read_parquet(
    file: InputFile, columns: ColumnSelection, keep_other: bool = False, keep_bad: bool = False
) -> Iterator[RawRecord]:
    """Read the requested columns of a Parquet file, batch by batch.

    A column is a name, or a path of names with dots between them ("label.name").
    """
    check_columns(file.name, columns, read_parquet_columns(file))
    import pyarrow
    from pyarrow.parquet import ParquetFile

    errors = RowErrors(keep_bad)
    row = 0
    taken = columns.requested_names()
    has_classes = read_parquet_classes(file, str(columns.label)) is not None
    try:
        # else it holds the whole file, or all of a row group
        options = {"pre_buffer": False, "buffer_size": _BUFFER_BYTES}
        with ParquetFile(file.path, **options) as table:
            for batch in table.iter_batches(batch_size=1024, columns=None if keep_other else taken):
                for values in batch.to_pylist():
                    row += 1
                    if has_classes:
                        clear_unknown_classes(columns, values)
                    found = {column: look_up(values, column) for column in taken}
                    try:
                        record = build_record(columns, found, f"{file.name}, row {row}")
                    except UserError as error:
                        errors.add(error)
                        yield from errors.take_records()
                        continue
                    yield record._replace(other=values if keep_other else None)
    except pyarrow.ArrowException as error:
        raise UserError(f"{file.name}: broken Parquet data after row {row} ({error})") from error


def read_parquet_columns(file: InputFile) -> list[str]:
    """The column names in the file's footer, those inside others as paths with dots."""
    import pyarrow
    from pyarrow.parquet import read_schema

    size = file.path.stat().st_size
    with file.path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(0, size - 4))
        whole = head == stream.read(4) == b"PAR1"
    if is_packed(file.path):
        raise UserError(f"{file.name}: Parquet is compressed inside; unpack the file")
    if not whole:
        if (other := detect_no_data(file)) is not None:
            raise UserError(f"this is {other}", where=file.name)
        what = "cut off" if head == b"PAR1" else "not a Parquet file"
        raise UserError(f"{file.name}: {what}; its {size:,} bytes should begin and end with PAR1")
    try:
        return list(_list_fields(read_schema(file.path)))
    except pyarrow.ArrowException as error:
        raise UserError(f"{file.name}: not a Parquet file ({error})") from error


def _list_fields(fields: Iterable[Any], prefix: str = "") -> Iterator[str]:
    from pyarrow.types import is_struct

    for field in fields:
        yield prefix + field.name
        if is_struct(field.type):
            yield from _list_fields(field.type.fields, f"{prefix}{field.name}.")


def read_parquet_classes(file: InputFile, column: str) -> list[str] | None:
    """The names of the classes that stand as numbers in a column, in their order; None if there are
    none. The library `datasets` writes them into the file.
    """
    from pyarrow.parquet import read_schema

    try:
        content = json.loads((read_schema(file.path).metadata or {})[b"huggingface"])
        feature = content["info"]["features"][column]
        # several labels of a row are a list of numbers, which versions of the library write apart
        feature = feature[0] if isinstance(feature, list) else feature.get("feature", feature)
        return list(feature["names"]) if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None


def read_documents(
    file: InputFile,
    *,
    encoding: str,
    document: Literal["line", "paragraph", "file"],
    heading: str | None,
    keep_bad: bool = False,
) -> Iterator[RawRecord]:
    """Read plain text: a document per line, paragraph or file, or from heading to heading.

    Blank lines separate paragraphs and are never documents. With headings, the text before the
    first one is a document of its own.

    Args:
        heading: regular expression that a heading matches; None for no headings.
    """
    title = re.compile(heading) if heading is not None else None
    # a longer document is not parted by what is wrong in it
    keep_bad = keep_bad and document == "line" and title is None
    block: list[str] = []
    start = 1

    def finished() -> Iterator[RawRecord]:
        text = "\n".join(block).strip("\n")
        if text.strip() or (document == "file" and title is None):
            yield RawRecord(text, None, file.label, f"{file.name}, line {start}")
        block.clear()

    lines = read_text_lines(file, encoding, keep_bad=keep_bad)
    for number, ended in enumerate(lines, start=1):
        line = ended.rstrip("\n")
        if keep_bad and (error := find_line_error(line, encoding, f"{file.name}, line {number}")):
            yield from finished()
            yield mark_unreadable(error)
            continue
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


def read_labelled_lines(
    file: InputFile, *, encoding: str, labelled: bool, keep_bad: bool = False
) -> Iterator[RawRecord]:
    """Read lines `<label> <sentence>`, where the label ends at the first white space.

    A line may begin with several labels in fastText's way, `__label__a __label__b <sentence>`, and
    a comma by itself behind them is no part of the sentence; or end with them.
    """
    lines = read_text_lines(file, encoding, keep_bad=keep_bad)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if keep_bad and (error := find_line_error(line, encoding, f"{file.name}, line {number}")):
            yield mark_unreadable(error)
            continue
        begin = _LINE_LABELS.match(line)
        assert begin is not None
        words, text = begin[1].split(), line[begin.end() :].strip("\n")
        is_marked = FASTTEXT_MARK in line and not words[0].startswith(FASTTEXT_MARK)
        if is_marked and (end := _LAST_LABELS.search(line)) is not None:
            # fastText and StarSpace take labels anywhere
            words, text = end[0].split(), line[: end.start()].strip()
        # in older files of fastText a comma stands before the text
        if words[0].startswith(FASTTEXT_MARK):
            words = [word.removesuffix(",") for word in words if word != ","]
        label = words[0] if len(words) == 1 else tuple(words)
        yield RawRecord(text, None, label if labelled else None, f"{file.name}, line {number}")


def require_records(records: Iterable[RawRecord], name: str) -> Iterator[RawRecord]:
    """Pass records through; raise UserError if there is none."""
    empty = True
    for record in records:
        empty = False
        yield record
    if empty:
        raise UserError(f"{name}: no rows in it")
