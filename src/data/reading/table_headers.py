"""What is wrong with the header of a table, or with its columns' names, told before it is read."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import dropwhile, islice

from src.core.user_errors import UserError
from src.data.reading.columns import ColumnSelection, find_column_errors
from src.data.reading.decoding import InputFile, read_text_lines
from src.data.reading.header_rows import (
    SAMPLE_ROWS,
    count_lines_before_header,
    find_named_row,
    propose_names,
)
from src.data.reading.table_rows import (
    COMMON_DELIMITERS,
    LONG_DELIMITERS,
    TableStyle,
    iter_rows,
    name_delimiter,
    read_first_row,
    read_first_rows,
)

# of which it is told how a table is written
_MOST_LINES = 1000
_SHOWN_NAMES = 20
_PLAIN_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)


def find_table_errors(
    file: InputFile, columns: ColumnSelection, names: list[str], style: TableStyle
) -> Iterator[UserError]:
    """What the names of a table's columns show to be wrong, or its first rows if they have none."""
    if style.header:
        yield from _find_header_errors(file, columns, strip_requested(names, columns), style)
        return
    if style.names is not None:
        yield from _find_names_errors(file, columns, style, style.names)
    if (error := _find_delimiter_error(file, columns, style)) is not None:
        yield error


def _find_names_errors(
    file: InputFile, columns: ColumnSelection, style: TableStyle, names: Sequence[str]
) -> Iterator[UserError]:
    """The errors of names that were given to columns and do not fit them."""
    first = read_first_row(file, style)
    if [cell.strip() for cell in first] == list(names):
        yield UserError(
            f"the first line of {file.name} holds these very names",
            key="data.source.columns",
            value=f"[{','.join(names)}]",
            hint="leave this option",
        )
    yield from find_column_errors("data.source.columns", columns, names)


def _find_header_errors(
    file: InputFile, columns: ColumnSelection, names: list[str], style: TableStyle
) -> Iterator[UserError]:
    """The errors of a header that lacks requested columns. One names another delimiter alone, if
    that is what is wrong."""
    errors = list(find_column_errors(file.name, columns, names, has_header_line=True))
    if errors and (hint := _find_header_below(file, columns, style)) is not None:
        errors[0].hint, errors[0].alternative = hint, None
        yield errors[0]
        return
    if not errors and (error := _find_short_header_error(file, style)) is not None:
        yield error
    for error in errors:
        if names.count(str(error.value)) > 1 and (options := _name_columns(file, names, style)):
            error.hint = f"{options} names them apart"
        if not names.count(str(error.value)) and _names_another_delimiter(error, names, style):
            yield error
            return
    yield from errors


def _name_columns(file: InputFile, names: Sequence[str], style: TableStyle) -> str | None:
    """The options that give every column a name of its own, as they are typed; None where there are
    many, or some that need quotes.
    """
    [(line, _)] = read_first_rows(file, style)[:1]
    own = number_repeats([name.strip() for name in names])
    if len(own) > _SHOWN_NAMES or not all(map(_PLAIN_NAME.fullmatch, own)):
        return None
    return f"data.source.skip_rows={line} 'data.source.columns=[{','.join(own)}]'"


def number_repeats(names: Sequence[str]) -> list[str]:
    """Names of which none is lost where it stands twice: the second "a" is called "a_2"."""
    keys: dict[str, None] = {}
    for name in names:
        number, key = 2, name
        while key in keys:
            number, key = number + 1, f"{name}_{number}"
        keys[key] = None
    return list(keys)


def _find_header_below(file: InputFile, columns: ColumnSelection, style: TableStyle) -> str | None:
    """What to type where the requested columns stand in a row below the first one."""
    own = {style.delimiter: ""}
    others = COMMON_DELIMITERS if style.guessed_delimiter else {}
    for delimiter, name in {**own, **others}.items():
        try:
            rows = read_first_rows(file, style._replace(delimiter=delimiter))
        except UserError:
            continue
        if (skipped := find_named_row(rows, columns.requested_names())) is not None:
            other = "" if delimiter == style.delimiter else f" data.source.delimiter={name}"
            return (
                f"data.source.skip_rows={skipped}{other} where the names of columns "
                f"stand on line {skipped + 1}"
            )
    return None


def _find_short_header_error(file: InputFile, style: TableStyle) -> UserError | None:
    try:
        rows = read_first_rows(file, style)
    except UserError:
        # reading them tells what is wrong
        return None
    if (names := propose_names(rows)) is None:
        return None
    return UserError(
        "all rows have one cell more than the header",
        where=file.name,
        hint=f"data.source.skip_rows={rows[0][0]} 'data.source.columns=[{','.join(names)}]' names "
        "all columns",
    )


def _names_another_delimiter(error: UserError, names: list[str], style: TableStyle) -> bool:
    """Whether a column is missing since columns are parted otherwise; the error then says so."""
    line = style.delimiter.join(names)
    for delimiter, name in COMMON_DELIMITERS.items():
        cells = [cell.strip().strip("\"'") for cell in line.split(delimiter)]
        if delimiter != style.delimiter and (
            str(error.value) in cells or (len(names) == 1 and len(cells) > 1)
        ):
            error.alternative = None
            error.hint = f"its columns are parted by {name_delimiter(delimiter, name)}"
            return True
    return False


def _find_delimiter_error(
    file: InputFile, columns: ColumnSelection, style: TableStyle
) -> UserError | None:
    """The error of a table without a header whose first rows part evenly by another delimiter.

    Its own delimiter must be a guess, and part these rows into unequal numbers of cells.
    """
    if not style.guessed_delimiter:
        return None
    positions = [column for _, column in columns.requested_columns() if isinstance(column, int)]
    needed = len(style.names) if style.names is not None else max(positions) + 1
    lines = [
        line for line in islice(read_text_lines(file, style.encoding), SAMPLE_ROWS) if line.strip()
    ]
    if len({line.count(style.delimiter) for line in lines}) < 2:
        return None
    for delimiter, name in COMMON_DELIMITERS.items():
        counts = {line.count(delimiter) for line in lines}
        if delimiter != style.delimiter and len(counts) == 1 and min(counts) + 1 >= max(needed, 2):
            own = COMMON_DELIMITERS[style.delimiter]
            return UserError(
                f"its columns seem to be parted by {name_delimiter(delimiter, name)}",
                where=file.name,
                hint=f"data.source.delimiter={own} where they are not",
            )
    return None


def strip_requested(names: list[str], columns: ColumnSelection) -> list[str]:
    """Names of columns without the blanks around those that were asked for without."""
    wanted = set(columns.requested_names()) - set(names)
    return [name.strip() if name.strip() in wanted else name for name in names]


def guess_delimiter(file: InputFile, style: TableStyle) -> str | None:
    """The name of the delimiter by which the first rows part evenly into several cells, from the
    header on, which may be one short; None if that is their own or if there is none.

    Spaces part rows only where quotes stand around cells. What parts all rows goes before what
    parts those below some lines.
    """
    if not style.guessed_delimiter:
        return None
    below_lines: list[str | None] = []
    names = {**LONG_DELIMITERS, **COMMON_DELIMITERS, " ": "space", style.delimiter: None}
    for delimiter in dict.fromkeys((style.delimiter, *names)):
        name = names[delimiter]
        try:
            rows = read_first_rows(file, style._replace(delimiter=delimiter))
        except UserError:
            continue
        if delimiter == " " and not _has_quoted_row(file, style):
            continue
        if style.header and propose_names(rows) is not None:
            return name
        skipped = count_lines_before_header(rows) if style.header else 0
        below = [len(row) for line, row in rows if line > skipped]
        # the last may be a note of one cell
        widths = set(below[:-1] if len(below) > 3 and below[-1] == 1 else below)
        if len(widths) == 1 and widths != {1}:
            if not skipped or not style.header:
                return name
            below_lines.append(name)
    return below_lines[0] if below_lines else None


def has_comments(file: InputFile, style: TableStyle) -> bool:
    """Whether a few lines below the first rows begin with "#", as no cell does."""
    lines = islice(read_text_lines(file, style.encoding), _MOST_LINES)
    sample = list(dropwhile(lambda line: line.startswith("#"), filter(str.strip, lines)))
    comments = [line for line in sample if line.startswith("#")]
    if style.comment is not None or not comments or 2 * len(comments) > len(sample):
        return False
    usual = Counter(line.count(style.delimiter) for line in sample).most_common(1)[0][0]
    return all(line[1:2].isspace() or line.count(style.delimiter) != usual for line in comments)


def repeats_first_row(file: InputFile, style: TableStyle) -> bool:
    """Whether one of the first rows is the very first one again."""
    rows = (row for _, row, _ in islice(iter_rows(file, style), _MOST_LINES))
    first = next(rows, [])
    return any(row == first for row in rows)


def _has_quoted_row(file: InputFile, style: TableStyle) -> bool:
    first = next(read_text_lines(file, style.encoding), "")
    return style.quote is not None and f"{style.quote} {style.quote}" in first
