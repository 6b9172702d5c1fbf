"""Rows below the header of a survey's export that are no answers: the questions and the ImportIds
of Qualtrics, which are passed over, and a second header, which is told.
"""

import re
from collections.abc import Sequence
from typing import Any

IMPORT_ROWS_REMARK = (
    "below the questions and ImportIds of a Qualtrics export, which are passed over"
)
# The ImportIds stand in the first rows, the header among them, or nowhere.
MOST_IMPORT_ROWS = 3
_IMPORT_ID = re.compile(r"[\s\"]*\{[\s\"']*ImportId\b")
# of SurveyMonkey, below a question without options
_RESPONSE_WORDS = {"response", "open-ended response"}
_QUESTION_CODE = re.compile(r"(Q|V|QID)\d+([._#]\w+)*")
_NUMBER = re.compile(r"[-+]?[\d.,]+")
_PLAIN_NAME = re.compile(r"[A-Za-z][\w ?.-]*", re.ASCII)
_QUOTED_NAME = re.compile(r"[^'\"\\\r\n]+")
_SHOWN_NAMES = 20


def count_import_rows(rows: Sequence[Sequence[Any]]) -> int:
    """How many of the first rows are passed over: those to the row of ImportIds; 0 without one."""
    for place, row in enumerate(rows[:MOST_IMPORT_ROWS]):
        filled = [str(cell) for cell in row if cell is not None and str(cell).strip()]
        if filled and all(map(_IMPORT_ID.match, filled)):
            return place + 1
    return 0


def is_second_header(names: Sequence[Any], row: Sequence[Any]) -> bool:
    """Whether the row below the header is one too: it has the words of SurveyMonkey beside an empty
    cell, or names of two columns again, written otherwise, or of one beside codes of questions, as
    older exports of Qualtrics have them (Q1); and no number.
    """
    cells = ["" if cell is None else str(cell).strip() for cell in row]
    if any(map(_NUMBER.fullmatch, cells)):
        return False
    if "" in cells and not _RESPONSE_WORDS.isdisjoint(map(str.casefold, cells)):
        return True
    pairs = [(str(name or "").strip(), cell) for name, cell in zip(names, cells, strict=False)]
    again = [pair for pair in pairs if pair[1] and _fold(pair[0]) == _fold(pair[1])]
    codes = [name for name, cell in pairs if _QUESTION_CODE.fullmatch(name) and cell != name]
    if len(codes) < 2 and all(name == cell for name, cell in again):
        # two rows of one label each, and no names
        return False
    least = 1 if len(codes) > 1 else 2
    return least <= len(again) < len(pairs)


def describe_second_header(names: Sequence[str], skipped: int) -> str:
    """The remark on such a row, in words that follow "1 row", with what to type.

    Args:
        names: of the columns.
        skipped: how many lines the two headers take.
    """
    what = "that is a second header, as surveys have it"
    unique = len({*names}) == len(names) <= _SHOWN_NAMES
    if not unique or not all(map(_QUOTED_NAME.fullmatch, names)):
        return f"{what} (python -m src.look proposes the options that pass over it)"
    listed = ",".join(one if _PLAIN_NAME.fullmatch(one) else f'"{one}"' for one in names)
    return f"{what} (data.source.skip_rows={skipped} 'data.source.columns=[{listed}]')"


def _fold(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()
