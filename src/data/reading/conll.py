"""CoNLL files: a word and its tag in each line, among other columns, and a blank line between
sentences (Tjong Kim Sang and De Meulder, 2003).
"""

from collections.abc import Iterator
from typing import NamedTuple

from src.core.user_errors import UserError
from src.data.reading.decoding import InputFile, read_text_lines
from src.data.rows.records import RawRecord
from src.data.rows.token_labels import TokenLabels, join_words

_DOCUMENT_START = "-DOCSTART-"


class WordColumns(NamedTuple):
    """The columns of a word and of its tag, counted from 0, or from -1 backwards."""

    token: int = 0
    tag: int = -1

    @classmethod
    def build(cls, token: int | None, tag: int | None) -> "WordColumns":
        """The columns that are given; the first and the last where none is."""
        return cls(token or 0, -1 if tag is None else tag)


def read_tagged_words(
    file: InputFile, *, encoding: str, columns: WordColumns, labelled: bool
) -> Iterator[RawRecord]:
    """Read sentences. Columns are parted by tabs, in lines without a tab by blanks.

    Lines that begin a document (-DOCSTART-) are no words, nor are comments: lines that begin with
    "#" and have another number of columns than the words, or "# name = value".

    Args:
        labelled: whether words have tags.

    Raises:
        UserError: a line has another number of columns than the first one, or lacks a column.
    """
    words: list[str] = []
    tags: list[str] = []
    width = start = 0

    def finished() -> Iterator[RawRecord]:
        if words:
            text, spans = join_words(words)
            label = TokenLabels(tags=tuple(tags)) if labelled else None
            other = {"text": text, "tokens": list(words)}
            if labelled:
                other["tags"] = list(tags)
            where = f"{file.name}, line {start}"
            yield RawRecord(text, None, label, where, other=other, words=spans)
        words.clear()
        tags.clear()

    for number, ended in enumerate(read_text_lines(file, encoding), start=1):
        line = ended.rstrip("\n")
        if not line.strip():
            yield from finished()
            continue
        cells = [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()
        if _is_comment(line, cells, width):
            continue
        if cells[0] == _DOCUMENT_START:
            yield from finished()
            continue
        where = f"{file.name}, line {number}"
        width = width or len(cells)
        _check_cells(cells, width, columns, labelled, where)
        if not words:
            start = number
        words.append(cells[columns.token])
        if labelled:
            tags.append(cells[columns.tag])
    yield from finished()


def _is_comment(line: str, cells: list[str], width: int) -> bool:
    if not line.startswith("#"):
        return False
    if line.startswith("# ") and "\t" not in line and "=" in line:
        return True
    return len(cells) != width if width else len(cells) < 2


def _check_cells(
    cells: list[str], width: int, columns: WordColumns, labelled: bool, where: str
) -> None:
    if len(cells) != width:
        raise UserError(
            f"{where}: {len(cells)} columns, but {width} in the first line; expected as many in "
            "all lines, a word and its tag among them"
        )
    wanted = {"token_column": columns.token, **({"tag_column": columns.tag} if labelled else {})}
    for key, column in wanted.items():
        if not -len(cells) <= column < len(cells):
            raise UserError(
                f"{where}: it has {len(cells)} columns",
                key=f"data.source.{key}",
                value=column,
                expected=f"one from 0 to {len(cells) - 1}",
            )
    if labelled and columns.token % len(cells) == columns.tag % len(cells):
        raise UserError(
            f"{where}: column {columns.token % len(cells)} is that of the words and of the tags",
            key="data.source.tag_column",
            hint="data.source.label=null reads words without tags"
            if len(cells) == 1
            else "{key}=NUMBER names another",
        )
    if labelled and not cells[columns.tag]:
        raise UserError(f"{where}: the word '{cells[columns.token]}' has no tag")
