"""Lines of a table that seem to be no rows though they have as many cells: they are read, which is
said.
"""

import re
from collections.abc import Collection, Sequence

from src.data.reading.header_rows import COMMON_NAMES
from src.data.reading.table_rows import TableStyle

_COMMENT = re.compile(r"#+\s")
# in a column that is no text, where words may begin so
_MARK = re.compile(r"#+\s*[A-Za-z]")
_DASHES = re.compile(r":?-{3,}:?")
_SUM = re.compile(r"((grand |sub)?totals?|sum|average|mean)\s*:?", re.IGNORECASE)


def describe_odd_row(
    row: Sequence[str],
    texts: Collection[int],
    names: Sequence[str],
    style: TableStyle,
    *,
    is_first: bool,
) -> str | None:
    """What a row seems to be, in words that follow "3 rows"; None for an ordinary one.

    Args:
        texts: the positions of the texts.
        names: of the columns, if they have any.
        is_first: whether it stands where a header would.
    """
    begin = row[0].strip()
    pattern = _COMMENT if 0 in texts else _MARK
    if style.comment is None and pattern.match(begin):
        return "beginning with '#' (comments are passed over by data.source.comment=hash)"
    if names and [cell.strip() for cell in row] == list(names):
        return "with the names of the columns, as where tables were joined"
    filled = [cell.strip() for cell in row if cell.strip()]
    if len(filled) > 1 and all(map(_DASHES.fullmatch, filled)):
        return "of dashes, as Markdown has it below a header"
    if _SUM.fullmatch(begin):
        return f"with {begin!r} in the first cell, as a sum below a table has it"
    if is_first and sum(cell.strip().casefold() in COMMON_NAMES for cell in row) > 1:
        return "with names as a header has them (data.source.skip_rows=1 passes over the first)"
    return None
