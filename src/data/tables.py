"""Tables of text: CSV, TSV and whatever else parts its columns by one character."""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from src.core.user_errors import UserError, UserErrors
from src.data.columns import ColumnSelection, find_column_errors
from src.data.decoding import InputFile, read_text_lines
from src.data.records import RawRecord

# In one CSV cell: 16 million, ten times the longest novel. A longer cell has an unclosed quote.
MAX_FIELD_CHARACTERS = 1 << 24
# Names for characters that a shell or Hydra would not let through as they are.
CHARACTER_NAMES = {
    "tab": "\t",
    "comma": ",",
    "semicolon": ";",
    "pipe": "|",
    "colon": ":",
    "space": " ",
    "single": "'",
    "double": '"',
    "backslash": "\\",
}
# In the order in which a message looks for them in a row.
_COMMON_DELIMITERS = {"\t": "tab", ";": "semicolon", "|": "pipe", ",": "comma"}
_SAMPLE_ROWS = 50
# The first line of some tables, which is for spreadsheet programs.
_SEPARATOR_LINE = re.compile(r'"?sep=([^\r\n])"?[\r\n]*', re.IGNORECASE)


class TableStyle(NamedTuple):
    """How a table is written.

    Args:
        quote: the character around cells that hold delimiters or line ends; None where quotes are
            ordinary characters.
        escape: the character before a quote inside a quoted cell; None where quotes are doubled.
        header: whether the first line holds the names of the columns.
        names: of the columns, where they do not stand in the file.
        guessed_delimiter: whether the delimiter follows from the file's name alone.
        guessed_quote: whether `quote` does.
    """

    delimiter: str
    quote: str | None
    escape: str | None
    encoding: str
    header: bool
    names: tuple[str, ...] | None
    guessed_delimiter: bool
    guessed_quote: bool


def parse_character(name: str) -> str | None:
    """The character that a config names, by itself or in words; None if it names none."""
    character = CHARACTER_NAMES.get(name, name)
    return character if len(character) == 1 and character not in "\r\n\0" else None


def read_table(
    file: InputFile, columns: ColumnSelection, style: TableStyle, keep_other: bool = False
) -> Iterator[RawRecord]:
    """Read CSV or TSV.

    Where columns have names, all rows must have their number of cells. Else rows may have more
    than are asked for.
    """
    rows = _iter_rows(file, style)
    if style.header:
        _, names, _ = next(rows, (0, [], []))
        if not names:
            return
        names = _strip_requested(names, columns)
    else:
        names = list(style.names or ())
    if errors := list(find_table_errors(file, columns, names, style)):
        raise UserErrors(errors)

    def find_position(column: str | int) -> int:
        return names.index(str(column)) if names else int(column)

    texts = [find_position(column) for column in columns.text_columns]
    pair = None if columns.pair is None else find_position(columns.pair)
    labels = [find_position(column) for column in columns.label_columns]
    checked = texts if pair is None else [*texts, pair]
    taken = [*checked, *labels]
    width = len(names) or 1 + max(taken)
    own_keys = _number_repeats(names)
    for line, row, raw_lines in rows:
        where = f"{file.name}, line {line}"
        if len(row) < width or (names and len(row) > width):
            raise _width_error(where, row, width, style)
        if style.quote is None and style.guessed_quote:
            _refuse_quoted_cells(where, row, checked)
        text = columns.join_texts([row[position] for position in texts])
        label = columns.pack_labels(
            [cell if (cell := row[position]).strip() else None for position in labels]
        )
        keys = own_keys or [str(position) for position in range(len(row))]
        other = dict(zip(keys, row, strict=True)) if keep_other else None
        remark = _describe_lines(raw_lines, len(row), style) if len(raw_lines) > 1 else None
        yield RawRecord(text, None if pair is None else row[pair], label, where, other, remark)


def _number_repeats(names: Sequence[str]) -> list[str]:
    """Names of which none is lost where it stands twice: the second "a" is called "a_2"."""
    keys: dict[str, None] = {}
    for name in names:
        number, key = 2, name
        while key in keys:
            number, key = number + 1, f"{name}_{number}"
        keys[key] = None
    return list(keys)


def _strip_requested(names: list[str], columns: ColumnSelection) -> list[str]:
    """Names of columns without the blanks around those that were asked for without."""
    wanted = set(columns.requested_names()) - set(names)
    return [name.strip() if name.strip() in wanted else name for name in names]


def guess_delimiter(file: InputFile, style: TableStyle) -> str | None:
    """The name of the delimiter by which the first rows part evenly into several cells; None if
    that is their own or if there is none.
    """
    if not style.guessed_delimiter:
        return None
    for delimiter in dict.fromkeys((style.delimiter, *_COMMON_DELIMITERS)):
        rows = _iter_rows(file, style._replace(delimiter=delimiter))
        try:
            widths = {len(row) for _, row, _ in islice(rows, _SAMPLE_ROWS)}
        except UserError:
            continue
        if len(widths) == 1 and widths != {1}:
            return None if delimiter == style.delimiter else _COMMON_DELIMITERS[delimiter]
    return None


def read_first_row(file: InputFile, style: TableStyle) -> list[str]:
    """The first row that is not blank; empty if there is none."""
    return next((row for _, row, _ in _iter_rows(file, style)), [])


def find_table_errors(
    file: InputFile, columns: ColumnSelection, names: list[str], style: TableStyle
) -> Iterator[UserError]:
    """What the names of a table's columns show to be wrong, or its first rows if they have none."""
    if style.header:
        yield from _find_header_errors(file, columns, _strip_requested(names, columns), style)
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
    for error in errors:
        if not names.count(str(error.value)) and _names_another_delimiter(error, names, style):
            yield error
            return
    yield from errors


def _names_another_delimiter(error: UserError, names: list[str], style: TableStyle) -> bool:
    """Whether a column is missing since columns are parted otherwise; the error then says so."""
    line = style.delimiter.join(names)
    for delimiter, name in _COMMON_DELIMITERS.items():
        cells = [cell.strip().strip("\"'") for cell in line.split(delimiter)]
        if delimiter != style.delimiter and (
            str(error.value) in cells or (len(names) == 1 and len(cells) > 1)
        ):
            error.alternative = None
            error.hint = f"its columns are parted by {_name_delimiter(delimiter, name)}"
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
        line for line in islice(read_text_lines(file, style.encoding), _SAMPLE_ROWS) if line.strip()
    ]
    if len({line.count(style.delimiter) for line in lines}) < 2:
        return None
    for delimiter, name in _COMMON_DELIMITERS.items():
        counts = {line.count(delimiter) for line in lines}
        if delimiter != style.delimiter and len(counts) == 1 and min(counts) + 1 >= max(needed, 2):
            own = _COMMON_DELIMITERS[style.delimiter]
            return UserError(
                f"its columns seem to be parted by {_name_delimiter(delimiter, name)}",
                where=file.name,
                hint=f"data.source.delimiter={own} where they are not",
            )
    return None


def _iter_rows(file: InputFile, style: TableStyle) -> Iterator[tuple[int, list[str], list[str]]]:
    """The line on which a row of a table begins, its cells, and the lines on which it stands; blank
    lines are passed over.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))
    raw_lines: list[str] = []

    def remember_lines() -> Iterator[str]:
        for line in read_text_lines(file, style.encoding, newline=""):
            raw_lines.append(line)
            yield line

    rows = csv.reader(
        remember_lines(),
        delimiter=style.delimiter,
        quotechar=style.quote or '"',
        escapechar=style.escape,
        quoting=csv.QUOTE_NONE if style.quote is None else csv.QUOTE_MINIMAL,
        strict=True,
    )
    while True:
        start = rows.line_num + 1
        raw_lines.clear()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            remedy = _quoting_remedy("".join(raw_lines), style)
            raise UserError(
                _quoting_error_message(file, start, rows.line_num, error, remedy)
            ) from error
        if start == 1 and (found := _SEPARATOR_LINE.fullmatch("".join(raw_lines))):
            _check_separator_line(file, found[1], style)
        elif row:
            yield start, row, raw_lines


def _check_separator_line(file: InputFile, delimiter: str, style: TableStyle) -> None:
    """Raise UserError if the line that spreadsheets write for themselves names another delimiter
    than the one that was guessed.
    """
    if style.guessed_delimiter and delimiter != style.delimiter:
        name = _name_delimiter(delimiter, _COMMON_DELIMITERS.get(delimiter, delimiter))
        raise UserError(f"{file.name}, line 1 says that columns are parted by {name}")


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


def _quoting_error_message(
    file: InputFile, start: int, end: int, error: csv.Error, remedy: str
) -> str:
    if "unexpected end of data" in str(error) or "field limit" in str(error):
        return (
            f"{file.name}, line {start}: the row that begins here opens a quote that is "
            f"never closed; {remedy}"
        )
    return (
        f"{file.name}, line {start}: bad quoting in the row that ends on line {end}: "
        f"{error}; {remedy}"
    )


def _quoting_remedy(raw: str, style: TableStyle) -> str:
    """What to type for a row that breaks the rules of quoting."""
    quote = re.escape(style.quote or '"')
    if style.escape is None and re.search(rf"\\{quote}", raw):
        return "data.source.escape=backslash where a backslash stands before quotes inside"
    parted = re.search(rf"{quote}\s*([\t;|,])\s*({quote}|[^\s{quote}])", raw)
    if parted and parted[1] != style.delimiter and style.guessed_delimiter:
        name = _COMMON_DELIMITERS[parted[1]]
        return f"its columns seem to be parted by {_name_delimiter(parted[1], name)}"
    return "data.source.quoting=false where quotes are ordinary characters"


def _width_error(where: str, row: list[str], width: int, style: TableStyle) -> UserError:
    if style.header:
        expected = f"the header has {width}"
    elif style.names is not None:
        expected = f"data.source.columns names {width}"
    else:
        expected = f"data.source asks for at least {width}"
    remedy = "is a quote or separator missing? (data.source.format, data.source.quoting)"
    line = style.delimiter.join(row)
    if style.quote is None and any(cell.startswith('"') for cell in row):
        remedy = "data.source.quoting=true where quotes stand around cells"
    elif len(row) < width:
        for delimiter, name in _COMMON_DELIMITERS.items():
            if delimiter != style.delimiter and line.count(delimiter) + 1 >= max(width, 2):
                remedy = f"is it parted by {_name_delimiter(delimiter, name)}"
                break
    return UserError(f"{where}: {len(row)} columns, {expected}; {remedy}")


def _name_delimiter(delimiter: str, name: str) -> str:
    """A delimiter in words, with what to type for it."""
    match name:
        case "tab":
            return "tabs: data.source.format=tsv"
        case "comma":
            return "commas: data.source.format=csv"
        case _:
            return f"'{delimiter}': data.source.delimiter={name}"


def _refuse_quoted_cells(where: str, row: list[str], positions: list[int]) -> None:
    """Raise UserError for a cell that is certainly quoted, though quotes are thought ordinary:
    quotes around it, and all others in it doubled.
    """
    for position in positions:
        cell = row[position]
        inside = cell[1:-1]
        quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
        if quoted and '""' in inside and '"' not in inside.replace('""', ""):
            raise UserError(
                f"{where}: a cell with quotes around it and doubled quotes inside, "
                f"{cell[:40]}; data.source.quoting=true takes them for quotes, "
                "data.source.quoting=false as they stand"
            )
