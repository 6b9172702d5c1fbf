"""The rows of a table of text, whose columns are parted by one character, and how it is written."""

import csv
import re
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import NamedTuple

from src.core.user_errors import UserError
from src.data.reading.bad_rows import RowErrors
from src.data.reading.decoding import InputFile, find_line_error, read_text_lines
from src.data.reading.header_rows import SAMPLE_ROWS, NumberedRow

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
    "hash": "#",
}
# In the order in which a message looks for them in a row.
COMMON_DELIMITERS = {"\t": "tab", ";": "semicolon", "|": "pipe", ",": "comma"}
# By what to type for them; the longest go first.
LONG_DELIMITERS = {one: one for one in (" ||| ", "|||", "::")}
# A separator of ASCII, which texts do not use, for delimiters of several characters.
_STAND_IN = "\x1f"
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
        skipped_lines: how many lines before the header are passed over.
        comment: with what lines begin that are no rows; None where there are none.
        guessed_delimiter: whether the delimiter follows from the file's name alone.
        guessed_quote: whether `quote` does.
    """

    delimiter: str
    quote: str | None
    escape: str | None
    encoding: str
    header: bool
    names: tuple[str, ...] | None
    skipped_lines: int
    guessed_delimiter: bool
    guessed_quote: bool
    comment: str | None = None


def parse_character(name: str) -> str | None:
    """The character that a config names, by itself or in words; None if it names none."""
    character = CHARACTER_NAMES.get(name, name)
    return character if len(character) == 1 and character not in "\r\n\0" else None


def parse_delimiter(name: str) -> str | None:
    """The character or characters that a config names; None if there are none."""
    if len(name) > 1 and name not in CHARACTER_NAMES and not name.isalnum():
        return None if set(name) & set("\r\n\0") else name
    return parse_character(name)


def read_first_rows(file: InputFile, style: TableStyle) -> list[NumberedRow]:
    """The first rows that are not blank, with the lines on which they begin."""
    return [(line, row) for line, row, _ in islice(iter_rows(file, style), SAMPLE_ROWS)]


def read_first_row(file: InputFile, style: TableStyle, keep_bad: bool = False) -> list[str]:
    """The first row that is not blank; empty if there is none."""
    return next((row for _, row, _ in iter_rows(file, style, RowErrors(keep_bad))), [])


def iter_rows(
    file: InputFile, style: TableStyle, errors: RowErrors | None = None
) -> Generator[tuple[int, list[str], list[str]]]:
    """The line on which a row of a table begins, its cells, and the lines on which it stands; blank
    lines are passed over.

    Args:
        errors: takes those of rows with bad quoting. If it keeps them, such a row is one line, and
            the lines below it are read as if it were not there. None: they are raised.
    """
    errors = errors or RowErrors(keep=False)
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))
    raw_lines: list[str] = []
    # lines of a bad row that are read again
    again: deque[str] = deque()
    stream = read_text_lines(file, style.encoding, "", keep_bad=errors.keep)
    fresh = islice(stream, style.skipped_lines, None)

    def remember_lines() -> Iterator[str]:
        while (text := again.popleft() if again else next(fresh, None)) is not None:
            if style.comment and not raw_lines and text.startswith(style.comment):
                # as a blank line, so that others keep their numbers
                text = "\n"
            raw_lines.append(text)
            # the library takes one character
            several = len(style.delimiter) > 1
            yield text.replace(style.delimiter, _STAND_IN) if several else text

    def parse_lines() -> Iterator[list[str]]:
        return csv.reader(
            remember_lines(),
            delimiter=style.delimiter if len(style.delimiter) == 1 else _STAND_IN,
            quotechar=style.quote or '"',
            escapechar=style.escape,
            quoting=csv.QUOTE_NONE if style.quote is None else csv.QUOTE_MINIMAL,
            strict=True,
        )

    rows, line = parse_lines(), style.skipped_lines + 1
    with closing(stream):
        while True:
            start = line
            raw_lines.clear()
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                remedy = _quoting_remedy("".join(raw_lines), style)
                end = start + len(raw_lines) - 1
                errors.add(UserError(_quoting_error_message(file, start, end, error, remedy)))
                again.extendleft(reversed(raw_lines[1:]))
                rows, line = parse_lines(), start + 1
                continue
            line += len(raw_lines)
            where = f"{file.name}, line {start}"
            if errors.keep and (bad := find_line_error("".join(raw_lines), style.encoding, where)):
                errors.add(bad)
            elif start == 1 and (found := _SEPARATOR_LINE.fullmatch("".join(raw_lines))):
                _check_separator_line(file, found[1], style)
            elif row:
                yield start, row, raw_lines


def _check_separator_line(file: InputFile, delimiter: str, style: TableStyle) -> None:
    """Raise UserError if the line that spreadsheets write for themselves names another delimiter
    than the one that was guessed.
    """
    if style.guessed_delimiter and delimiter != style.delimiter:
        name = name_delimiter(delimiter, COMMON_DELIMITERS.get(delimiter, delimiter))
        raise UserError(f"{file.name}, line 1 says that columns are parted by {name}")


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
    if not parted and style.guessed_delimiter and re.search(rf"{quote} {quote}", raw):
        return f"its columns seem to be parted by {name_delimiter(' ', 'space')}"
    if parted and parted[1] != style.delimiter and style.guessed_delimiter:
        name = COMMON_DELIMITERS[parted[1]]
        return f"its columns seem to be parted by {name_delimiter(parted[1], name)}"
    return "data.source.quoting=false where quotes are ordinary characters"


def name_delimiter(delimiter: str, name: str) -> str:
    """A delimiter in words, with what to type for it."""
    match name:
        case "tab":
            return "tabs: data.source.format=tsv"
        case "comma":
            return "commas: data.source.format=csv"
        case _:
            return f"'{delimiter}': data.source.delimiter={name}"
