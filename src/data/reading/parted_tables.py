"""Two tables of which one has the texts of rows and the other their labels, by a shared column."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from src.core.formatting import format_python_command
from src.core.user_errors import UserError
from src.data.reading.column_names import is_usual_text_name
from src.data.reading.columns import ColumnSelection
from src.data.reading.decoding import InputFile, read_text_lines
from src.data.reading.file_names import PATH_KEY, SplitFiles, infer_format
from src.data.reading.table_rows import TableStyle, iter_rows, read_first_row

_MOST_ROWS = 20_000


def check_parted_tables(
    layout: SplitFiles, style: TableStyle | None, columns: ColumnSelection | None
) -> None:
    """Raise UserError for two tables of train with other columns that share one in which no value
    comes again, and most values are in both.

    Args:
        style: of the tables; None for other formats.
        columns: that are asked for; tables that both have all of them are parts of one. None: not
            known.
    """
    files = layout.files.get("train", ())
    if columns is None and style is not None and style.header and files:
        _check_places(files[0], style)
    wanted = set() if columns is None else {*columns.requested_names()}
    if len(files) != 2 or style is None or not style.header:
        return
    try:
        names = [read_first_row(file, style) for file in files]
        shared = [name for name in names[0] if name in names[1]]
        if len(shared) in map(len, names) or (wanted and wanted <= {*shared}):
            return
        keys = [
            name
            for name in shared
            if _are_keys(*(_list_values(file, style, name) for file in files))
        ]
    except UserError:
        # reading tells what is wrong
        return
    if keys:
        raise _describe(files, style, keys[0])


def _check_places(file: InputFile, style: TableStyle) -> None:
    """Raise UserError for a table of entities in the texts of other files."""
    try:
        names = [name.strip().casefold() for name in read_first_row(file, style)]
    except UserError:
        # reading tells what is wrong
        return
    begins, ends = ([one for one in names if f"{word} offset" in one] for word in ("begin", "end"))
    if begins and ends and not any(map(is_usual_text_name, names)):
        raise UserError(
            "rows are places in the texts of other files, which are not read so",
            where=file.name,
            hint='write a line {"text": "...", "entities": [[0, 3, "PER"]]} as JSON for each text',
        )


def check_unnamed_tables(files: Sequence[Path]) -> None:
    """The same for two files of CSV or TSV, as these are mostly written, that no split names."""
    formats = {infer_format(file) for file in files}
    if formats == {"jsonl"} and len(files) == 2:
        _check_json_lines([InputFile(file, file.name) for file in files])
    if formats not in ({"csv"}, {"tsv"}):
        return
    style = TableStyle(
        delimiter="," if formats == {"csv"} else "\t",
        quote='"' if formats == {"csv"} else None,
        escape=None,
        encoding="utf-8",
        header=True,
        names=None,
        skipped_lines=0,
        guessed_delimiter=True,
        guessed_quote=True,
    )
    tables = tuple(InputFile(file, file.name) for file in files)
    check_parted_tables(SplitFiles(formats.pop() or "", {"train": tables}), style, None)


def _check_json_lines(files: Sequence[InputFile]) -> None:
    """The same for two files of JSON lines."""
    try:
        tables = [
            [json.loads(line) for line in islice(read_text_lines(file, "utf-8"), _MOST_ROWS)]
            for file in files
        ]
    except (ValueError, RecursionError, UserError):
        # no lines of JSON, or reading tells what is wrong
        return
    if not all(table and all(isinstance(row, dict) for row in table) for table in tables):
        return
    shared = [name for name in tables[0][0] if name in tables[1][0]]
    if len(shared) in (len(tables[0][0]), len(tables[1][0])):
        return
    for name in shared:
        if _are_keys(*([str(row.get(name)) for row in table] for table in tables)):
            raise _describe(files, None, name)


def _list_values(file: InputFile, style: TableStyle, name: str) -> list[str]:
    """What stands in a column of the first rows."""
    header, *rows = (row for _, row, _ in islice(iter_rows(file, style), _MOST_ROWS))
    place = header.index(name)
    return [row[place].strip() for row in rows if len(row) > place]


def _are_keys(values: Sequence[str], others: Sequence[str]) -> bool:
    """Whether values that come once each are those of another column too, or most of them."""
    unique = len({*values}) == len(values) > 1 and len({*others}) == len(others)
    return unique and 2 * len({*values} & {*others}) >= max(len(values), len(others))


def _describe(files: Sequence[InputFile], style: TableStyle | None, name: str) -> UserError:
    first, second = files
    joined = first.path.with_name("joined.jsonl" if style is None else "joined.csv")
    if style is None:
        read, options = "read_json", ", lines=True, dtype=False"
        write = f"to_json({str(joined)!r}, orient='records', lines=True)"
    else:
        read, options = "read_csv", "" if style.delimiter == "," else f", sep={style.delimiter!r}"
        write = f"to_csv({str(joined)!r}, index=False)"
    program = (
        f"import pandas as p; p.{read}({str(first.path)!r}{options})"
        f".merge(p.{read}({str(second.path)!r}{options}), on={name!r}).{write}"
    )
    return UserError(
        f"{first.name} and {second.name} have other columns and share {name!r}: texts and labels "
        "lie in different files",
        key=PATH_KEY,
        value=first.path.parent,
        hint=f"join them first: {format_python_command(program)}; then {{key}}={joined}",
    )
