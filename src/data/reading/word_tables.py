"""Tables with a word and its tag in each row, and the program that makes a file of them that is
read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.core.formatting import format_python_command
from src.data.reading.column_names import split_name
from src.data.reading.column_profiles import ColumnProfile
from src.data.reading.decoding import InputFile
from src.data.reading.file_names import PATH_KEY
from src.data.reading.table_rows import CHARACTER_NAMES
from src.data.rows.odd_labels import WORD_TABLE_HINT, are_word_tags

_WORD_NAMES = frozenset(("word", "words", "token", "tokens", "form", "text"))
_SENTENCE_NAMES = frozenset(
    ("sentence", "sent", "sentid", "sentenceid", "document", "doc", "utterance")
)


def describe_word_table(
    profiles: Sequence[ColumnProfile], file: InputFile, options: Mapping[str, Any]
) -> Iterator[str]:
    """That the rows of a table are words, and a command that writes its sentences one after the
    other as CoNLL, where its columns say what is what. Nothing of another table.

    Args:
        options: how the file is read.
    """
    tags = next((one.name for one in profiles if are_word_tags(one.labels)), None)
    if tags is None:
        return
    yield (
        f"note: {tags} holds tags of words, so that each row is a word and no text; "
        f"{WORD_TABLE_HINT}"
    )
    names = [str(one.name) for one in profiles if isinstance(one.name, str)]
    words = next((name for name in names if _is_called(name, _WORD_NAMES)), None)
    sentences = next((name for name in names if _is_called(name, _SENTENCE_NAMES)), None)
    if words is None or sentences is None or file.path.suffix not in (".csv", ".tsv"):
        return
    target = file.path.with_suffix(".conll")
    program = _write_program(file, target, (sentences, words, str(tags)), options)
    yield "this writes its sentences so:"
    yield f"  {format_python_command(program)}"
    yield f"  python -m src.look {PATH_KEY}={target}"


def _is_called(name: str, names: frozenset[str]) -> bool:
    return not names.isdisjoint(split_name(name))


def _write_program(
    file: InputFile, target: Any, columns: tuple[str, str, str], options: Mapping[str, Any]
) -> str:
    """A program for pandas. A sentence is named in all of its rows, or in its first alone."""
    encoding = options.get("encoding") or "utf-8-sig"
    delimiter = options.get("delimiter") or ("tab" if file.path.suffix == ".tsv" else "comma")
    read = json.dumps(str(file.path), ensure_ascii=False)
    separator, code = json.dumps(CHARACTER_NAMES.get(delimiter, delimiter)), json.dumps(encoding)
    sentence, word, tag = (json.dumps(name, ensure_ascii=False) for name in columns)
    written = json.dumps(str(target), ensure_ascii=False)
    return (
        f"import pandas, pathlib; d = pandas.read_csv({read}, sep={separator}, encoding={code}, "
        f'dtype=str, keep_default_na=False); s = d[{sentence}]; s = s.where(s != "").ffill(); '
        f'lines = d[{word}] + "\\t" + d[{tag}]; groups = lines.groupby((s != s.shift()).cumsum()); '
        f'text = "\\n\\n".join("\\n".join(g) for _, g in groups); '
        f'pathlib.Path({written}).write_text(text, encoding="utf-8")'
    )
