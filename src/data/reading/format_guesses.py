"""The format of files whose names do not tell it, by their first lines."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from src.data.reading.decoding import InputFile, read_text_lines
from src.data.reading.encodings import choose_encoding
from src.data.reading.file_names import infer_format
from src.data.reading.readers import FASTTEXT_MARK
from src.data.reading.table_rows import LONG_DELIMITERS
from src.data.rows.token_labels import looks_like_tags

_SAMPLE_LINES = 1000


def guess_text_format(path: Path, encodings: Sequence[str]) -> dict[str, str]:
    """The format of a file of lines whose name does not tell it: "conll" where they end on tags of
    words, "tsv" where all lines have equally many tabs, "csv" with another delimiter likewise,
    "label_first" where they begin with a few words that come again; empty if neither.
    """
    if not path.is_file() or infer_format(path) not in (None, "text"):
        return {}
    file = InputFile(path, path.name)
    lines = read_text_lines(file, choose_encoding(file, encodings).name)
    first_lines = list(itertools.islice(lines, _SAMPLE_LINES))
    if looks_like_tags(first_lines):
        return {"format": "conll"}
    sample = [line.strip() for line in first_lines if line.strip()]
    tabs = {line.count("\t") for line in sample}
    if len(tabs) == 1 and tabs != {0}:
        return {"format": "tsv"}
    if sample and all(line.startswith('"') for line in sample) and '" "' in sample[0]:
        return {"format": "csv", "delimiter": "space"}
    for delimiter in LONG_DELIMITERS:
        counts = {line.count(delimiter) for line in sample}
        if len(counts) == 1 and counts != {0}:
            return {"format": "csv", "delimiter": delimiter}
    if sample and all(line.startswith(FASTTEXT_MARK) for line in sample):
        return {"format": "label_first"}
    words = [line.split(maxsplit=1) for line in sample]
    first = {word[0] for word in words}
    several = len(words) > 1 and all(len(word) > 1 for word in words)
    # no marks of a list or the keys of YAML
    are_words = all(re.search(r"\w", word) and not word.endswith(":") for word in first)
    begins = several and are_words and 1 < len(first) <= len(words) / 5
    return {"format": "label_first"} if begins else {}
