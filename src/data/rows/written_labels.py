"""Lists that stand as text in a cell of a table, as JSON, Python or NumPy writes them, and labels
of words that are written so: a list of tags, or a list of spans.
"""

import ast
import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from src.core.entity_tags import OUTSIDE
from src.data.rows.records import RawRecord
from src.data.rows.token_labels import (
    TAG_PATTERN,
    TokenLabels,
    holds_entities,
    is_word_list,
    join_words,
    parse_spans,
)

_COUNTS_REMARK = "with more or fewer tags than words between blanks, which have no label here"
# An array as NumPy writes it, and so pandas a column of Parquet's lists: blanks between the items.
# Python joins texts that stand so.
_ARRAYS: dict[str, Callable[[str], Any]] = {
    r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""": ast.literal_eval,
    r"[+-]?\d+": int,
    r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?": float,
    r"(?:True|False)": ast.literal_eval,
}


def parse_written_list(cell: Any) -> list[Any] | None:
    """The list that a text is, as JSON, Python or NumPy writes it; None for anything else."""
    text = cell.strip() if isinstance(cell, str) else ""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    for item, convert in _ARRAYS.items():
        if re.fullmatch(rf"\[\s*{item}(?:\s+{item})+\s*\]", text):
            return [convert(one) for one in re.findall(item, text)]
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return found if isinstance(found, list) else None
    return None


def are_multi_hot(values: Collection[Any]) -> bool:
    """Whether values, or the lists that texts are, say of every label with 1 or 0 whether a row has
    it.
    """
    known = (value if isinstance(value, list) else parse_written_list(value) for value in values)
    lists = [one for one in known if one is not None]
    return (
        len(lists) == len(values) > 0
        and len(set(map(len, lists))) == 1
        and len(lists[0]) > 1
        and all(item in (0, 1) and not isinstance(item, str) for one in lists for item in one)
        and any(len(set(one)) < len(one) for one in lists)
    )


def are_tag_names(values: Sequence[Any]) -> bool:
    """Whether a list holds nothing but O and tags of entities with prefixes (B-PER)."""
    return bool(values) and all(
        isinstance(one, str) and (one == OUTSIDE or TAG_PATTERN.fullmatch(one) is not None)
        for one in values
    )


def read_written_labels(record: RawRecord) -> RawRecord:
    """A row whose label is a list of tags or of spans in a text, with these as labels of its words;
    any other row unchanged. The words are those of a list in the text, else parted by blanks; where
    there are not as many as tags, the row has no label, which is remarked. Numbers of tags are
    taken for a list of as many words only.

    Raises:
        UserError: a span is none of the text.
    """
    found = parse_written_list(record.label)
    if found is None or record.pair is not None:
        return record
    if holds_entities(found):
        return record._replace(label=parse_spans(found, record.text, record.where))
    if not are_tag_names(found) and not _number_words(found, parse_written_list(record.text)):
        return record
    words = _find_words(record.text, len(found))
    text, spans = join_words(words)
    if len(words) != len(found):
        # where a text was parted into words otherwise, some rows do not show how
        return record._replace(label=None, remark=record.remark or _COUNTS_REMARK)
    return record._replace(text=text, label=TokenLabels(tags=tuple(found)), words=spans)


def _number_words(tags: Sequence[Any], words: Any) -> bool:
    """Whether a list holds the number of a tag for each word of a list of words."""
    return (
        bool(tags)
        and all(isinstance(tag, int) and not isinstance(tag, bool) for tag in tags)
        and is_word_list(words)
        and len(words) == len(tags)
    )


def _find_words(text: str, count: int) -> list[str]:
    """The words of a text, by that of the usual ways which gives so many; else by white space."""
    # a character that counts as white space may be a word
    ways = [text.split(), [word for word in text.split(" ") if word]]
    if is_word_list(listed := parse_written_list(text)):
        ways.append(listed)
    return next((words for words in reversed(ways) if len(words) == count), ways[0])
