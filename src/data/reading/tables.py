"""Tables of text: CSV, TSV and whatever else parts its columns by one character."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice

from src.core.user_errors import UserError, UserErrors
from src.data.reading.bad_rows import RowErrors
from src.data.reading.columns import ColumnSelection
from src.data.reading.decoding import InputFile
from src.data.reading.odd_rows import describe_odd_row
from src.data.reading.survey_rows import (
    IMPORT_ROWS_REMARK,
    MOST_IMPORT_ROWS,
    count_import_rows,
    describe_second_header,
    is_second_header,
)
from src.data.reading.table_headers import find_table_errors, number_repeats, strip_requested
from src.data.reading.table_rows import COMMON_DELIMITERS, TableStyle, iter_rows, name_delimiter
from src.data.rows.records import RawRecord


def read_table(
    file: InputFile,
    columns: ColumnSelection,
    style: TableStyle,
    keep_other: bool = False,
    keep_bad: bool = False,
) -> Iterator[RawRecord]:
    """Read CSV or TSV.

    Where columns have names, all rows must have their number of cells. Else rows may have more
    than are asked for.
    """
    row_errors = RowErrors(keep_bad)
    rows = iter_rows(file, style, row_errors)
    if style.header:
        _, names, _ = next(rows, (0, [], []))
        if not names:
            return
        names = strip_requested(names, columns)
    else:
        names = list(style.names or ())
    if errors := list(find_table_errors(file, columns, names, style)):
        raise UserErrors(errors)

    def find_position(column: str | int) -> int:
        return names.index(str(column)) if names else int(column)

    passed_over = _count_passed_over(file, style)
    for _ in range(passed_over):
        next(rows, None)

    texts = [find_position(column) for column in columns.text_columns]
    pair = None if columns.pair is None else find_position(columns.pair)
    labels = [find_position(column) for column in columns.label_columns]
    checked = texts if pair is None else [*texts, pair]
    taken = [*checked, *labels]
    width = len(names) or 1 + max(taken)
    own_keys = number_repeats(names)
    first_line = None if style.header else style.skipped_lines + 1
    for place, (line, row, raw_lines) in enumerate(rows):
        where = f"{file.name}, line {line}"
        if error := _find_row_error(where, row, names, width, checked, style):
            row_errors.add(error)
            continue
        yield from row_errors.take_records()
        text = columns.join_texts([row[position] for position in texts])
        label = columns.pack_labels(
            [cell if (cell := row[position]).strip() else None for position in labels]
        )
        keys = own_keys or [str(position) for position in range(len(row))]
        other = dict(zip(keys, row, strict=True)) if keep_other else None
        remark = _describe_lines(raw_lines, len(row), style) if len(raw_lines) > 1 else None
        remark = remark or describe_odd_row(row, texts, names, style, is_first=line == first_line)
        if not place and passed_over:
            remark = IMPORT_ROWS_REMARK
        elif not place and style.header and not remark and is_second_header(names, row):
            remark = describe_second_header(names, line + len(raw_lines) - 1)
        yield RawRecord(text, None if pair is None else row[pair], label, where, other, remark)
    yield from row_errors.take_records()


def _count_passed_over(file: InputFile, style: TableStyle) -> int:
    """How many of the first rows, behind those of a header, are no answers of a survey."""
    begin = 1 if style.header else 0
    first_rows = iter_rows(file, style, RowErrors(keep=True))
    with closing(first_rows):
        cells = [row for _, row, _ in islice(first_rows, begin, begin + MOST_IMPORT_ROWS)]
    return count_import_rows(cells)


def _describe_lines(lines: Sequence[str], width: int, style: TableStyle) -> str:
    """The remark on a row that stands on several lines, which a stray quote may have joined."""
    delimiter = style.delimiter
    # in prose a space follows a comma
    if all(line.count(delimiter) == width - 1 and f"{delimiter} " not in line for line in lines):
        return (
            "over several lines that all look like rows of their own: data.source.quoting=false "
            "where quotes are ordinary characters"
        )
    return "over several lines, in quotes"


def _find_row_error(
    where: str,
    row: list[str],
    names: Sequence[str],
    width: int,
    checked: list[int],
    style: TableStyle,
) -> UserError | None:
    """What is wrong with the cells of a row.

    Args:
        width: the number of cells that it should have, or without names the least.
        checked: the positions of the texts.
    """
    if len(row) < width or (names and len(row) > width):
        return _width_error(where, row, width, style)
    if style.quote is None and style.guessed_quote:
        return _find_quoted_cell(where, row, checked)
    return None


def _width_error(where: str, row: list[str], width: int, style: TableStyle) -> UserError:
    if style.header:
        expected = f"the header has {width}"
    elif style.names is not None:
        expected = f"data.source.columns names {width}"
    else:
        expected = f"data.source asks for at least {width}"
    remedy = "is a quote or separator missing? (data.source.format, data.source.quoting)"
    line = style.delimiter.join(row)
    if style.comment is None and line.startswith("#"):
        remedy = "data.source.comment=hash passes over lines that begin with '#'"
    elif style.quote is None and any(cell.startswith('"') for cell in row):
        remedy = "data.source.quoting=true where quotes stand around cells"
    elif len(row) < width:
        for delimiter, name in COMMON_DELIMITERS.items():
            if delimiter != style.delimiter and line.count(delimiter) + 1 >= max(width, 2):
                remedy = f"is it parted by {name_delimiter(delimiter, name)}"
                break
    return UserError(f"{where}: {len(row)} columns, {expected}; {remedy}")


def _find_quoted_cell(where: str, row: list[str], positions: list[int]) -> UserError | None:
    """The error of a cell that is certainly quoted, though quotes are thought ordinary: quotes
    around it, and all others in it doubled.
    """
    for position in positions:
        cell = row[position]
        inside = cell[1:-1]
        quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
        if quoted and '""' in inside and '"' not in inside.replace('""', ""):
            return UserError(
                f"{where}: a cell with quotes around it and doubled quotes inside, "
                f"{cell[:40]}; data.source.quoting=true takes them for quotes, "
                "data.source.quoting=false as they stand"
            )
    return None
