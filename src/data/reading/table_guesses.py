"""The options without which a table is not read as it is written, told from its first rows."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from src.data.reading.column_names import rank_label_name, weigh_text_name
from src.data.reading.column_profiles import ColumnProfile, parse_number, sample_columns
from src.data.reading.decoding import InputFile
from src.data.reading.file_formats import TABLE_FORMATS, read_header
from src.data.reading.header_rows import NumberedRow, count_lines_before_header, propose_names
from src.data.reading.sources import Source
from src.data.reading.spreadsheets import read_first_sheet_rows
from src.data.reading.survey_rows import count_import_rows, is_second_header
from src.data.reading.table_headers import (
    guess_delimiter,
    has_comments,
    number_repeats,
    repeats_first_row,
)
from src.data.reading.table_rows import read_first_rows

# What has so many words is hardly the name of a column.
_SENTENCE_WORDS = 4
_NUMBERS = re.compile(r"\d+([,;| ]\s*\d+)*")
_ORANGE_KINDS = {"d", "c", "s", "t", "discrete", "continuous", "string", "time", "text", ""}
_ORANGE_ROLES = {"class", "meta", "ignore", "i", "m", ""}


def guess_table_options(source: Source, file: InputFile, format: str) -> dict[str, Any]:
    """The options without which a table is not read as it is written: its delimiter, what stands
    before its header, names for its columns, and `header` where the first line seems to be a row:
    it has numbers where all rows have some, or a label of these.
    """
    options, _ = source.reading_options(format).choose_encoding(file)
    headed = source.header and source.columns is None
    if options.style is None and (format != "xlsx" or not headed):
        return {}
    found: dict[str, Any] = {}
    if options.style is not None and has_comments(file, options.style):
        found["comment"] = "hash"
        source = replace(source, comment="hash")
        options = options._replace(style=options.style._replace(comment="#"))
    if options.style is not None and (name := guess_delimiter(file, options.style)) is not None:
        found["delimiter"] = name
    if headed and source.skip_rows is None:
        found |= _guess_header_place(replace(source, **found), file, format)
    if headed and "columns" not in found:
        profiles = sample_columns(replace(source, **found), file, format)
        numbered = [profile.name for profile in profiles] == [*map(str, range(len(profiles)))]
        # where the header comes again, tables were joined
        joined = options.style is not None and repeats_first_row(
            file,
            replace(source, **found).table_style(format)._replace(encoding=options.encodings[0]),
        )
        holds_names = any(map(_holds_own_name, profiles))
        if (
            not numbered
            and not joined
            and (holds_names or _has_labels_twice(replace(source, **found), file, format))
        ):
            found["header"] = False
    return found


def _guess_header_place(source: Source, file: InputFile, format: str) -> dict[str, Any]:
    options, _ = source.reading_options(format).choose_encoding(file)
    if options.style is None:
        rows = read_first_sheet_rows(file, source.sheet, 0)
    else:
        rows = read_first_rows(file, options.style)
    if skipped := count_lines_before_header(rows):
        return {"skip_rows": skipped}
    if _has_orange_header(rows):
        return {"skip_rows": rows[3][0] - 1, "columns": _name_all(rows[0][1])}
    if options.style is not None and (names := propose_names(rows)) is not None:
        return {"skip_rows": rows[0][0], "columns": names}
    has_import_ids = count_import_rows([cells for _, cells in rows]) > 0
    if not has_import_ids and len(rows) > 2 and is_second_header(rows[0][1], rows[1][1]):
        return {"skip_rows": rows[2][0] - 1, "columns": _name_all(_fill_names(rows))}
    return {}


def _has_labels_twice(source: Source, file: InputFile, format: str) -> bool:
    """Whether the first row has a value in two columns of which each has it again below: a label of
    two kinds, and no name.
    """
    repeated = find_repeated_names(source, file, format)
    options, _ = source.reading_options(format).choose_encoding(file)
    if not repeated or options.style is None:
        return False
    (_, names), *below = read_first_rows(file, options.style)
    return any(
        sum(names[place] == name == row[place] for _, row in below if len(row) > place) > 1
        for name in repeated
        for place in range(len(names))
    )


def _has_orange_header(rows: Sequence[NumberedRow]) -> bool:
    """Whether the second and the third row hold kinds and roles of columns, as Orange has them."""
    if len(rows) < 4:
        return False
    kinds, roles = ({str(cell or "").strip() for cell in row} for _, row in rows[1:3])
    return kinds <= _ORANGE_KINDS and {""} != roles <= _ORANGE_ROLES


def find_repeated_names(source: Source, file: InputFile, format: str) -> list[str]:
    """The names that several columns of a table have."""
    options, _ = source.reading_options(format).choose_encoding(file)
    is_table = options.style is not None or format == "xlsx"
    names = read_header(file, options) if is_table and options.header else []
    return [name for name in dict.fromkeys(names) if name.strip() and names.count(name) > 1]


def guess_other_names(source: Source, file: InputFile, format: str) -> dict[str, Any]:
    """The options that give columns names of their own, where several are called as a text or a
    label is: text, label, text_2.
    """
    repeated = find_repeated_names(source, file, format)
    if all(
        weigh_text_name(name) < 2 and rank_label_name(name, is_numeric=False) > 2
        for name in repeated
    ):
        return {}
    options, _ = source.reading_options(format).choose_encoding(file)
    if options.style is None:
        rows = read_first_sheet_rows(file, source.sheet, options.skipped_rows)
    else:
        rows = read_first_rows(file, options.style)
    line, names = rows[0]
    return {"skip_rows": line, "columns": _name_all(names)}


def _fill_names(rows: Sequence[NumberedRow]) -> list[Any]:
    """The names of a header, of which those that are empty stand in the second one: the choices of
    a question.
    """
    (_, names), (_, below) = rows[:2]
    pairs = zip_longest(names, below, fillvalue="")
    return [name if str(name or "").strip() else other for name, other in pairs]


def _name_all(names: Sequence[Any]) -> list[str]:
    """A name of its own for every column of a header."""
    named = [str(name or "").strip() or f"column{place}" for place, name in enumerate(names)]
    return number_repeats(named)


def begins_with_sentence(source: Source, file: InputFile, format: str) -> bool:
    """Whether a cell of a table's first row is longer than names of columns are."""
    options, _ = source.reading_options(format).choose_encoding(file)
    names = read_header(file, options) if format in (*TABLE_FORMATS, "xlsx") else []
    return any(len(name.split()) >= _SENTENCE_WORDS for name in names)


def _holds_own_name(profile: ColumnProfile) -> bool:
    name = str(profile.name)
    is_number = profile.is_numeric and parse_number(name) is not None
    # lists of numbers, "5,22"
    values = profile.labels or profile.examples
    are_numbers = all(map(_NUMBERS.fullmatch, (name, *values))) and bool(values)
    return is_number or are_numbers or name in profile.labels
