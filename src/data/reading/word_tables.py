"""Tables with a word and its tag in each row, and the program that makes a file of them that is
read.
"""

import csv
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from src.core.formatting import format_python_command
from src.data.reading.column_names import split_name
from src.data.reading.column_profiles import ColumnProfile
from src.data.reading.decoding import InputFile
from src.data.reading.file_names import PATH_KEY
from src.data.reading.table_rows import TableStyle
from src.data.rows.odd_labels import WORD_TABLE_HINT, are_word_tags

_WORD_NAMES = frozenset(("word", "words", "token", "tokens", "form", "text"))
_SENTENCE_NAMES = frozenset(
    ("sentence", "sent", "sentid", "sentenceid", "document", "doc", "utterance")
)


def describe_word_table(
    profiles: Sequence[ColumnProfile], file: InputFile, style: TableStyle | None
) -> Iterator[str]:
    """That the rows of a table are words, and a command that writes its sentences one after the
    other as CoNLL, where its columns say what is what. Nothing of another table.

    Args:
        style: how the table is written; None where it is none of CSV or TSV.
    """
    tags = next((one.name for one in profiles if are_word_tags(one.labels)), None)
    if tags is None:
        return
    yield (
        f"note: {tags} holds tags of words, so that each row is a word and no text; "
        f"{WORD_TABLE_HINT}"
    )
    names = [str(one.name) for one in profiles]
    words = next((name for name in names if _is_called(name, _WORD_NAMES)), None)
    sentences = next((name for name in names if _is_called(name, _SENTENCE_NAMES)), None)
    if words is None or sentences is None or style is None:
        return
    if not style.header or style.names or style.skipped_lines:
        return
    target = file.path.with_suffix(".conll")
    program = _write_program(file.path, target, (sentences, words, str(tags)), style)
    yield "this writes its sentences so:"
    yield f"  {format_python_command(program)}"
    yield f"  python -m src.look {shlex.quote(f'{PATH_KEY}={target}')}"


def _is_called(name: str, names: frozenset[str]) -> bool:
    return not names.isdisjoint(split_name(name))


def _write_program(
    path: Path, target: Path, columns: tuple[str, str, str], style: TableStyle
) -> str:
    """A program for pandas. A sentence is named in all of its rows, or in its first alone."""
    options: dict[str, Any] = {"sep": style.delimiter, "encoding": style.encoding}
    if style.quote is None:
        options["quoting"] = csv.QUOTE_NONE
    elif style.quote != '"':
        options["quotechar"] = style.quote
    if style.escape is not None:
        options["escapechar"] = style.escape
    typed = ", ".join(f"{name}={_write(value)}" for name, value in options.items())
    sentence, word, tag = map(_write, columns)
    return (
        f"import pandas, pathlib; d = pandas.read_csv({_write(str(path))}, {typed}, "
        f'dtype=str, keep_default_na=False); s = d[{sentence}]; s = s.where(s != "").ffill(); '
        f'lines = d[{word}] + "\\t" + d[{tag}]; groups = lines.groupby((s != s.shift()).cumsum()); '
        f'text = "\\n\\n".join("\\n".join(g) for _, g in groups); '
        f'pathlib.Path({_write(str(target))}).write_text(text, encoding="utf-8")'
    )


def _write(value: str | int) -> str:
    """A value as Python reads it, in double quotes."""
    return json.dumps(value, ensure_ascii=False)
