"""Spreadsheets: the rows of one sheet of an `.xlsx` file."""

import warnings
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from src.core.user_errors import UserError, format_suggestion
from src.data.reading.columns import ColumnSelection, build_record, check_columns
from src.data.reading.decoding import InputFile, detect_other_format
from src.data.reading.header_rows import SAMPLE_ROWS, NumberedRow
from src.data.reading.packed_files import open_binary
from src.data.reading.survey_rows import (
    IMPORT_ROWS_REMARK,
    MOST_IMPORT_ROWS,
    count_import_rows,
    describe_second_header,
    is_second_header,
)
from src.data.rows.records import RawRecord

_WIDER_REMARK = (
    "with cells right of the columns that have names, which are not read: data.source.skip_rows=N "
    "where the first row is a title"
)
_INSTALL_HINT = "pip install openpyxl, or save the sheet as CSV"


def read_sheet_rows(
    file: InputFile,
    columns: ColumnSelection,
    *,
    sheet: str | None,
    skipped: int,
    header: bool,
    names: Sequence[str] | None,
    keep_other: bool = False,
) -> Iterator[RawRecord]:
    """Read a sheet. A number in a column of texts is the text that it is written as.

    Args:
        sheet: its name; None for the only one that is not empty.
        skipped: how many rows are passed over at the beginning.
        header: whether the first row that is not empty holds the names of the columns.
        names: of the columns, where they do not stand in the file.
    """
    if header or names is not None:
        check_columns(file.name, columns, names or read_sheet_header(file, sheet, skipped))
    texts = [str(column) for column in (*columns.text_columns, columns.pair)]
    wanted = columns.requested_names()
    for number, values, remark in iter_sheet_values(
        file, sheet=sheet, skipped=skipped, header=header, names=names
    ):
        where = f"{file.name}, row {number}"
        if not header and names is None and not set(wanted) <= values.keys():
            raise UserError(
                f"{where}: {len(values)} cells; data.source asks for one at position "
                f"{max(map(int, wanted))}, counted from 0"
            )
        taken = {column: values.get(column) for column in wanted}
        taken |= {text: _format_cell(taken[text]) for text in texts if text in taken}
        yield build_record(columns, taken, where)._replace(
            other=values if keep_other else None, remark=remark
        )


def iter_sheet_values(
    file: InputFile, *, sheet: str | None, skipped: int, header: bool, names: Sequence[str] | None
) -> Iterator[tuple[int, dict[str, Any], str | None]]:
    """The number of each row that is not empty, its cells by name, or by position as a text, and a
    remark on cells that have no name.
    """
    rows = _iter_rows(file, sheet, skipped)
    headed = False
    if header and names is None:
        names = [_format_cell(cell) for cell in next(rows, (0, []))[1]]
        headed = True
    first_rows = list(islice(rows, MOST_IMPORT_ROWS))
    passed_over = count_import_rows([row for _, row in first_rows])
    for place, (number, row) in enumerate(chain(first_rows[passed_over:], rows)):
        places = [str(place) for place in range(len(row))]
        cells = dict(zip(places if names is None else names, row, strict=False))
        wider = names is not None and len(row) > len(names)
        remark = _WIDER_REMARK if wider else None
        if not place and passed_over:
            remark = IMPORT_ROWS_REMARK
        elif not place and headed and names is not None and is_second_header(names, row):
            remark = describe_second_header(names, number)
        yield number, dict.fromkeys(names or (), None) | cells, remark


def read_sheet_header(file: InputFile, sheet: str | None, skipped: int) -> list[str]:
    """The first row that is not empty, as texts; empty if there is none."""
    return [_format_cell(cell) for cell in next(_iter_rows(file, sheet, skipped), (0, []))[1]]


def read_first_sheet_rows(file: InputFile, sheet: str | None, skipped: int) -> list[NumberedRow]:
    """The first rows that are not empty, with their numbers."""
    return list(islice(_iter_rows(file, sheet, skipped), SAMPLE_ROWS))


def _iter_rows(file: InputFile, sheet: str | None, skipped: int) -> Iterator[tuple[int, list[Any]]]:
    """Rows that are not empty with their numbers from 1, without empty cells at their ends, behind
    those that are passed over.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise UserError(
            f"{file.name}: spreadsheets need the package openpyxl; {_INSTALL_HINT}"
        ) from error
    with open_binary(file.path) as stream, warnings.catch_warnings():
        # it warns of what it leaves alone: styles, checks of what is typed in, pictures
        warnings.simplefilter("ignore")
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            for number, row in _iter_filled_rows(_choose_sheet(file, book, sheet)):
                if number > skipped:
                    yield number, row
        except (zipfile.BadZipFile, KeyError, ValueError, SyntaxError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            found = detect_other_format(file)
            if found is None or found.startswith("a zip file"):
                found = f"no spreadsheet, or a broken one ({error})"
            raise UserError(f"{file.name}: this is {found}") from error


def _choose_sheet(file: InputFile, book: Any, name: str | None) -> Any:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    for sheet in sheets.values():
        # files of other programs state sizes that are wrong
        sheet.reset_dimensions()
    if name is not None:
        if name not in sheets:
            raise UserError(
                f"{file.name} has no such sheet",
                key="data.source.sheet",
                value=name,
                hint=format_suggestion(name, sheets),
            )
        return sheets[name]
    filled = [title for title, sheet in sheets.items() if next(_iter_filled_rows(sheet), None)]
    if len(filled) > 1:
        raise UserError(
            f"{len(filled)} sheets with rows: {', '.join(filled)}",
            where=file.name,
            hint="data.source.sheet=NAME takes one of them",
        )
    return sheets[filled[0]] if filled else next(iter(sheets.values()))


def _iter_filled_rows(sheet: Any) -> Iterator[tuple[int, list[Any]]]:
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells = list(row)
        while cells and (cells[-1] is None or cells[-1] == ""):
            cells.pop()
        if cells:
            yield number, cells


def _format_cell(value: Any) -> str:
    """A cell as a text: 4.0 as 4, true as TRUE, nothing as an empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
