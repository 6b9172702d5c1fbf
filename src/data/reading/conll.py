"""CoNLL files: a word and its tag in each line, among other columns, and a blank line between
sentences (Tjong Kim Sang and De Meulder, 2003); those of Universal Dependencies (CoNLL-U) too.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

from src.core.entity_tags import OUTSIDE
from src.core.formatting import truncate_end
from src.core.user_errors import UserError
from src.data.reading.decoding import InputFile, read_text_lines
from src.data.rows.records import RawRecord
from src.data.rows.tag_spellings import TAG_PATTERN
from src.data.rows.token_labels import TokenLabels, begins_with_tags, join_words, split_at_blanks

_DOCUMENT_START = "-DOCSTART-"
# CoNLL-U has ten columns, of which the first numbers the words of a sentence, the second is the
# word and the fourth its part of speech.
_NUMBERED_WIDTH, _NUMBERED_TOKEN, _NUMBERED_TAG = 10, 1, 3
# In other files with a number, a word and tags (MultiNERD, GermEval 2014) the tag is the third.
_LEAST_NUMBERED_WIDTH, _THIRD_COLUMN = 3, 2
# A token that is written out as several words (3-4), and a word that is not there (3.1).
_NO_WORD_NUMBER = re.compile(r"\d+[-.]\d+")
# Lines from which it is told how wide they are and which tags there are.
_SAMPLE_LINES = 1000
# "# sent_id = 3", which every file of CoNLL-U has
_NAMED_VALUE = re.compile(r"# [^\t]*=[^\t]*")
_COMMENTS_REMARK = "beside lines that begin with '#' and are no words, which are passed over"

# The language before every word, as WikiANN has it: en:Paris.
_LANGUAGE = re.compile(r"[a-z][a-z-]{1,11}:(?=\S)")
_LANGUAGE_REMARK = "whose words begin with their language ({}), which is left out"
# An entity over several words as CoNLL-2005 and CoNLL-2012 write it: (PERSON*, *, *).
_BRACKET = re.compile(r"\([^\s()*]+\*\)?")
_TAGS_FIRST_REMARK = "whose tags stand before their words, and are read so"


class WordColumns(NamedTuple):
    """The columns of a word and of its tag, counted from 0, or from -1 backwards.

    Where none is given they are the first and the last, or those of files that number words.
    """

    token: int | None = None
    tag: int | None = None

    def resolve(self, *, numbered: bool, width: int = _NUMBERED_WIDTH) -> tuple[int, int]:
        """The columns of a file, whose first one numbers the words if it is `numbered`; where it
        has the width of CoNLL-U the fourth is the tag, else the third.
        """
        tag = _NUMBERED_TAG if width == _NUMBERED_WIDTH else _THIRD_COLUMN
        token, tag = (_NUMBERED_TOKEN, tag) if numbered else (0, -1)
        return (
            token if self.token is None else self.token,
            tag if self.tag is None else self.tag,
        )


def read_tagged_words(
    file: InputFile,
    *,
    encoding: str,
    columns: WordColumns,
    labelled: bool,
    comment: str | None = None,
) -> Iterator[RawRecord]:
    """Read sentences. Columns are parted by tabs, in lines without a tab by blanks.

    Lines that begin a document (-DOCSTART-) are no words, nor are comments (`_CommentLines`), whose
    sentences have a remark. Nor are, in files of ten columns whose first sentence is numbered
    (CoNLL-U), lines for a token that is written out as several words (3-4 isn't) and for words that
    are not there (3.1).

    Args:
        labelled: whether words have tags.
        comment: with what lines begin that are passed over whatever else they hold.

    Raises:
        UserError: a line has another number of columns than the first one, or lacks a column.
    """
    words: list[str] = []
    tags: list[str] = []
    width = start = 0
    numbered = False
    places = columns.resolve(numbered=False)
    below_comment = False
    stream = read_text_lines(file, encoding)
    first_lines = list(islice(stream, _SAMPLE_LINES))
    counted = count_words(first_lines)
    tags_first = columns == WordColumns() and _begin_with_tags(first_lines)
    if tags_first:
        columns = WordColumns(1, 0)
    comments = _CommentLines(first_lines, columns, counted)
    language = _find_language(first_lines)
    usual_remark = _TAGS_FIRST_REMARK if tags_first else None
    if language:
        usual_remark = _LANGUAGE_REMARK.format(language)

    def finished() -> Iterator[RawRecord]:
        if words:
            remark = _COMMENTS_REMARK if below_comment else usual_remark
            record = _build_record(words, tags if labelled else None, f"{file.name}, line {start}")
            yield record._replace(remark=remark)
        words.clear()
        tags.clear()

    for number, ended in enumerate(chain(first_lines, stream), start=1):
        line = ended.rstrip("\n")
        if comment is not None and line.startswith(comment):
            continue
        if not line.strip():
            yield from finished()
            below_comment = below_comment and not words
            continue
        cells = _split_line(line)
        if comments.has(line, cells, is_first=not words):
            below_comment = below_comment or not _NAMED_VALUE.fullmatch(line)
            continue
        if cells[0] == _DOCUMENT_START:
            yield from finished()
            continue
        where = f"{file.name}, line {number}"
        if not width:
            width = len(cells)
            numbered = is_numbered(cells) or counted
            places = columns.resolve(numbered=numbered, width=width)
        _check_cells(cells, width, places, labelled, where)
        if numbered and _NO_WORD_NUMBER.fullmatch(cells[0]):
            continue
        if not words:
            start = number
        words.append(cells[places[0]].removeprefix(language))
        if labelled:
            tags.append(cells[places[1]])
    yield from finished()


def _build_record(words: Sequence[str], tags: Sequence[str] | None, where: str) -> RawRecord:
    """A sentence; `tags` are those of its words, None where they have none."""
    text, spans = join_words(words)
    other = {"text": text, "tokens": list(words)}
    if tags is None:
        return RawRecord(text, None, None, where, other=other, words=spans)
    other["tags"] = list(tags)
    return RawRecord(text, None, TokenLabels(tags=tuple(tags)), where, other=other, words=spans)


def is_numbered(cells: Sequence[str]) -> bool:
    """Whether the first line of a file is one of CoNLL-U."""
    return len(cells) == _NUMBERED_WIDTH and re.fullmatch(r"0\.1|1(-\d+)?", cells[0]) is not None


def count_words(lines: Sequence[str]) -> bool:
    """Whether the first of three or more columns counts the words of every sentence, from 0 or 1
    on.
    """
    expected: int | None = None
    sentences = counted = 0
    for line in lines:
        cells = _split_line(line)
        if not line.strip() or line.startswith("#") or cells[0] == _DOCUMENT_START:
            expected = None
            continue
        if len(cells) < _LEAST_NUMBERED_WIDTH or not cells[0].isdecimal():
            return False
        number = int(cells[0])
        if number not in ((0, 1) if expected is None else (expected,)):
            return False
        sentences += expected is None
        counted += expected is not None
        expected = number + 1
    return counted > 0 and sentences > 0


def _find_language(lines: Sequence[str]) -> str:
    """What stands before every word of two sentences or more, if it may be a language."""
    rows = [line for line in lines if line.strip()]
    found = {language[0] if (language := _LANGUAGE.match(line)) else "" for line in rows}
    return found.pop() if len(found) == 1 and 1 < len(rows) < len(lines) else ""


def _begin_with_tags(lines: Sequence[str]) -> bool:
    return begins_with_tags(
        [
            _split_line(line)
            for line in lines
            if line.strip() and not line.startswith(("#", _DOCUMENT_START))
        ]
    )


class _CommentLines:
    """Which lines are comments and no words, told from the first lines of a file.

    Comments begin with "#". One has another number of columns than the words, or is "# name =
    value", or stands where a sentence begins and has something for a tag that is none of the file's
    tags ("# 0"). A word may be "#" or begin so ("#fun").
    """

    def __init__(self, lines: Sequence[str], columns: WordColumns, counted: bool) -> None:
        rows = [_split_line(line) for line in lines if line.strip() and not line.startswith("#")]
        rows = [cells for cells in rows if cells[0] != _DOCUMENT_START]
        self._width = len(rows[0]) if rows else 0
        numbered = counted or (bool(rows) and is_numbered(rows[0]))
        self._tag = columns.resolve(numbered=numbered, width=self._width)[1]
        self._tags = {cells[self._tag] for cells in rows if self._has_tag(cells)}

    def has(self, line: str, cells: Sequence[str], *, is_first: bool) -> bool:
        """Whether a line is a comment.

        Args:
            is_first: whether it stands where a sentence begins.
        """
        if not line.startswith("#"):
            return False
        if _NAMED_VALUE.fullmatch(line) or len(cells) != (self._width or max(2, len(cells))):
            return True
        # the part of speech of "#" is called so
        tag = cells[self._tag] if self._has_tag(cells) else "#"
        known = tag in (*self._tags, OUTSIDE, "#") or TAG_PATTERN.fullmatch(tag) is not None
        return is_first and self._width > 1 and not known

    def _has_tag(self, cells: Sequence[str]) -> bool:
        return -len(cells) <= self._tag < len(cells)


def _split_line(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t")] if "\t" in line else split_at_blanks(line)


def _check_cells(
    cells: list[str], width: int, places: tuple[int, int], labelled: bool, where: str
) -> None:
    token, tag = places
    if len(cells) != width:
        raise UserError(
            f"{where}: {len(cells)} columns, but {width} in the first line; expected as many in "
            "all lines, a word and its tag among them"
        )
    wanted = {"token_column": token, **({"tag_column": tag} if labelled else {})}
    for key, column in wanted.items():
        if not -len(cells) <= column < len(cells):
            raise UserError(
                f"{where}: it has {len(cells)} columns",
                key=f"data.source.{key}",
                value=column,
                expected=f"one from 0 to {len(cells) - 1}",
            )
    if labelled and token % len(cells) == tag % len(cells):
        raise UserError(
            f"{where}: column {token % len(cells)} is that of the words and of the tags",
            key="data.source.tag_column",
            hint="data.source.label=null reads words without tags"
            if len(cells) == 1
            else "{key}=NUMBER names another",
        )
    if labelled and " " in cells[tag]:
        raise UserError(
            f"{where}: the tag '{truncate_end(cells[tag], 40)}' has blanks in it, as where a line "
            "is a whole sentence",
            hint="write its words and their tags below each other, or name another column: "
            "data.source.tag_column=NUMBER",
        )
    if labelled and _BRACKET.fullmatch(cells[tag]):
        raise UserError(
            f"{where}: the tag '{cells[tag]}' opens a bracket that later lines close, which is not "
            "read as an entity",
            hint="of CoNLL-2012 data.source.token_column=3 data.source.tag_column=4 reads the "
            "parts of speech",
        )
    if labelled and not cells[tag]:
        raise UserError(f"{where}: the word '{cells[token]}' has no tag")
