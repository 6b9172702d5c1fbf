"""The format of files whose names do not tell it, by their first lines."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from src.core.user_errors import UserError
from src.data.reading.decoding import InputFile, read_text_lines
from src.data.reading.encodings import choose_encoding
from src.data.reading.file_names import SplitFiles
from src.data.reading.readers import FASTTEXT_MARK
from src.data.reading.table_rows import LONG_DELIMITERS
from src.data.rows.token_labels import looks_like_tags

_SAMPLE_LINES = 1000
# Signs that texts have too part columns only where one of these has few values.
_TEXT_SIGNS = {"semicolon": ";", "pipe": "|", "@": "@", "~": "~", "^": "^"}
_LEAST_LINES = 5
_MOST_LABELS = 100
# A key of YAML, the head of a message in a chat ("[12/03/21, 10:12:33] Ann: ..."), a date.
_NO_LABEL = re.compile(r"[:,]$|^\[|^\d+([/.-]\d+){2}")
_TABLE_FORMATS = ("tsv", "csv", "conll")


def guess_format(file: InputFile, encodings: Sequence[str]) -> dict[str, str]:
    """The format of a file of lines: "jsonl" where they are objects, "conll" where they are words
    and their tags, "tsv" where all lines have equally many tabs, or no fewer than most have, "csv"
    with another delimiter where all have equally many of it, "label_first" where they begin with a
    few words that come again, or begin or end with labels as fastText writes them; empty if none.
    """
    lines = read_text_lines(file, choose_encoding(file, encodings).name)
    first_lines = list(islice(lines, _SAMPLE_LINES))
    if looks_like_tags(first_lines):
        return {"format": "conll"}
    sample = [line.strip("\r\n ") for line in first_lines if line.strip()]
    if sample and all(_is_json_row(line) for line in sample[:_LEAST_LINES]):
        return {"format": "jsonl"}
    if sample and all(_has_fasttext_label(line) for line in sample):
        return {"format": "label_first"}
    # lines of numbers of abstracts may stand between the rows, as in PubMed RCT
    tabs = Counter(line.count("\t") for line in sample if not _is_comment(line))
    if tabs and min(tabs) > 0 and tabs.most_common(1)[0][0] == min(tabs):
        return {"format": "tsv"}
    if sample and all(line.startswith('"') for line in sample) and '" "' in sample[0]:
        return {"format": "csv", "delimiter": "space"}
    for delimiter in LONG_DELIMITERS:
        counts = {line.count(delimiter) for line in sample}
        if len(counts) == 1 and counts != {0}:
            return {"format": "csv", "delimiter": delimiter}
    for name, delimiter in _TEXT_SIGNS.items():
        if _has_few_values(sample, delimiter):
            return {"format": "csv", "delimiter": name}
    return {"format": "label_first"} if _begin_with_labels(sample) else {}


def _is_json_row(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _has_fasttext_label(line: str) -> bool:
    words = line.split()
    return words[0].startswith(FASTTEXT_MARK) or words[-1].startswith(FASTTEXT_MARK)


def _is_comment(line: str) -> bool:
    return line.startswith("#") and "\t" not in line


def _begin_with_labels(lines: Sequence[str]) -> bool:
    """Whether lines begin with a few words that come again, and are no beginnings of sentences:
    those stand inside lines as well.
    """
    words = [line.split() for line in lines]
    first = {line[0] for line in words}
    several = len(words) > 1 and all(len(line) > 1 for line in words)
    # no marks of a list or the keys of YAML
    are_words = all(re.search(r"\w", word) and not _NO_LABEL.search(word) for word in first)
    if not (several and are_words and 1 < len(first) <= min(len(words) / 5, _MOST_LABELS)):
        return False
    names = {word.casefold() for word in first if not word.isdecimal()}
    inside = sum(word.casefold() in names for line in words for word in line[1:])
    return inside <= len(words) / 2


def _has_few_values(lines: Sequence[str], delimiter: str) -> bool:
    """Whether a sign parts all lines into equally many cells, of which one has few values."""
    rows = [line.split(delimiter) for line in lines]
    if len(rows) < _LEAST_LINES or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
        return False
    columns = [{cell.strip() for cell in column} for column in zip(*rows, strict=True)]
    return any(1 < len(column) <= len(rows) / _LEAST_LINES for column in columns)


def describe_unread_table(layout: SplitFiles, encodings: Sequence[str]) -> Iterator[str]:
    """That files which are read as lines of text look like a table, in a sentence."""
    files = layout.files.get("train", ())
    if layout.format != "text" or not files:
        return
    try:
        found = guess_format(files[0], encodings)
    except UserError:
        # reading tells what is wrong
        return
    if found.get("format") in _TABLE_FORMATS:
        options = " ".join(format_option(*one) for one in found.items())
        what = "words and their tags" if found["format"] == "conll" else "a table"
        yield f"note: the lines of {files[0].name} look like {what}; {options} reads them so"


def format_option(key: str, value: str) -> str:
    """An option of a source as it is typed in a shell."""
    quoted = value if value.isidentifier() else f"'\"{value}\"'"
    return f"data.source.{key}={quoted}"
