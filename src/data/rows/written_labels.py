"""Labels of words that stand as text in a cell of a table: a list of tags, or a list of spans, as
JSON or as Python writes them.
"""

import ast
import json
from collections.abc import Sequence
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


def parse_written_list(cell: Any) -> list[Any] | None:
    """The list that a text is, as JSON or as Python writes it; None for anything else."""
    text = cell.strip() if isinstance(cell, str) else ""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return found if isinstance(found, list) else None
    return None


def are_tag_names(values: Sequence[Any]) -> bool:
    """Whether a list holds nothing but O and tags of entities with prefixes (B-PER)."""
    return bool(values) and all(
        isinstance(one, str) and (one == OUTSIDE or TAG_PATTERN.fullmatch(one) is not None)
        for one in values
    )


def read_written_labels(record: RawRecord) -> RawRecord:
    """A row whose label is a list of tags or of spans in a text, with these as labels of its words;
    any other row unchanged. The words are those of a list in the text, else parted by blanks; where
    there are not as many as tags, the row has no label, which is remarked.

    Raises:
        UserError: a span is none of the text.
    """
    found = parse_written_list(record.label)
    if found is None or record.pair is not None:
        return record
    if holds_entities(found):
        return record._replace(label=parse_spans(found, record.text, record.where))
    if not are_tag_names(found):
        return record
    words = _find_words(record.text, len(found))
    text, spans = join_words(words)
    if len(words) != len(found):
        # where a text was parted into words otherwise, some rows do not show how
        return record._replace(label=None, remark=record.remark or _COUNTS_REMARK)
    return record._replace(text=text, label=TokenLabels(tags=tuple(found)), words=spans)


def _find_words(text: str, count: int) -> list[str]:
    """The words of a text, by that of the usual ways which gives so many; else by white space."""
    # a character that counts as white space may be a word
    ways = [text.split(), [word for word in text.split(" ") if word]]
    if is_word_list(listed := parse_written_list(text)):
        ways.append(listed)
    return next((words for words in reversed(ways) if len(words) == count), ways[0])
