"""Where the header of a table stands: below titles, notes and comments, or one name short."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import Any

# The number of the line or of the sheet's row on which a row begins, from 1, and its cells.
NumberedRow = tuple[int, Sequence[Any]]

SAMPLE_ROWS = 50
# Two of them in a row make a header, whatever stands above.
COMMON_NAMES = frozenset(
    [
        "id",
        "text",
        "label",
        "title",
        "body",
        "sentence",
        "review",
        "comment",
        "content",
        "tweet",
        "message",
        "document",
        "question",
        "class",
        "category",
        "target",
        "sentiment",
        "rating",
        "score",
        "stars",
        "topic",
        "intent",
        "sentence1",
        "sentence2",
    ]
)
_NUMBER = re.compile(r"\s*[-+]?\d+([.,]\d+)?\s*")
_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def count_lines_before_header(rows: Sequence[NumberedRow]) -> int:
    """How many lines or rows of a sheet stand before the header, told from the first rows; 0 where
    the first seems to be it.

    Comments begin with "#". Titles and notes fill fewer cells than most rows do. A row below them
    is a header only if it has no number and nothing that comes again in its column.
    """
    sizes = [_count_filled(cells) for _, cells in rows]
    if not rows or max(sizes) == 0:
        return 0
    known = [sum(_format(cell).casefold() in COMMON_NAMES for cell in row) for _, row in rows[:10]]
    named = next((place for place, count in enumerate(known) if count > 1), 0)
    if named and not known[0] and sizes[named] == len({*map(_format, rows[named][1])} - {""}):
        return rows[named][0] - 1
    usual = max(Counter(sizes).items(), key=lambda item: (item[1], item[0]))[0]
    comments = len(list(takewhile(_is_comment, rows)))
    header = next(
        (place for place in range(comments, len(rows)) if sizes[place] >= usual), len(rows)
    )
    first = rows[comments] if comments < header else None
    if first and (sizes[comments] > max(1, usual - 2) or not _format(first[1][0])):
        # names of some columns only, or of all but the first
        header = comments
    if comments and sizes[comments - 1] == usual and not _looks_like_header(rows, header):
        # "#id" is the name of a first column
        header = comments - 1
    elif not _looks_like_header(rows, header):
        return 0
    return rows[header][0] - 1 if header else 0


def find_named_row(rows: Sequence[NumberedRow], names: Collection[str]) -> int | None:
    """How many lines stand before the first row, but for the very first one, that has all of some
    names; None if there is none.
    """
    wanted = {name.strip() for name in names}
    return next(
        (number - 1 for number, cells in rows[1:] if wanted <= {_format(cell) for cell in cells}),
        None,
    )


def propose_names(rows: Sequence[NumberedRow]) -> list[str] | None:
    """Names for all columns where every row has one cell more than the header, as in tables that R
    writes with the names of rows; None where that is not so.

    The column without a name is the first, called "row", or the last, called "rest", if the first
    is empty or repeats itself, or the last is empty.
    """
    if len(rows) < 3 or {len(cells) for _, cells in rows[1:]} != {len(rows[0][1]) + 1}:
        return None
    names = [_format(cell) for cell in rows[0][1]]
    first = [_format(cells[0]) for _, cells in rows[1:]]
    if not all(map(_PLAIN_NAME.fullmatch, names)) or len({*names, "row", "rest"}) < len(names) + 2:
        return None
    has_last = any(_format(cells[-1]) for _, cells in rows[1:])
    return ["row", *names] if has_last and len(set(first)) == len(first) else [*names, "rest"]


def _looks_like_header(rows: Sequence[NumberedRow], place: int) -> bool:
    """Whether a row has no number, and nothing that comes again in its column."""
    if place >= len(rows) - 1:
        return False
    cells = [_format(cell) for cell in rows[place][1]]
    return not any(
        _NUMBER.fullmatch(cell) or cell in (_format(row[column]) for row in below)
        for column, cell in enumerate(cells)
        if cell
        for below in [[cells for _, cells in rows[place + 1 :] if len(cells) > column]]
    )


def _is_comment(row: NumberedRow) -> bool:
    return bool(row[1]) and _format(row[1][0]).startswith("#")


def _count_filled(cells: Sequence[Any]) -> int:
    return sum(1 for cell in cells if _format(cell))


def _format(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()
