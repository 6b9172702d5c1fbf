"""Labels of words in a text as files write them: a tag for each word, or entities as spans of
characters.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from src.core.entity_tags import OUTSIDE
from src.core.user_errors import UserError
from src.data.rows.tag_spellings import TAG_PATTERN

if TYPE_CHECKING:
    from src.data.rows.records import RawRecord

# where a word begins, and behind its end, in characters of the text
WordSpan = tuple[int, int]
# Characters of scripts without spaces, each of which is a word, as in BERT's tokenizer; then runs
# of letters and digits, and any other character by itself.
_SPACELESS = "\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD_PATTERN = re.compile(rf"[{_SPACELESS}]|(?:(?![{_SPACELESS}])[\w\u0300-\u036f])+|[^\w\s]")
_BEGIN_KEYS = ("start", "start_offset", "begin", "start_char", "startOffset", "startPos")
_END_KEYS = ("end", "end_offset", "end_char", "endOffset", "endPos")
# of files whose entities are all of one type
_NAMELESS_TAGS = frozenset("BIOES")
_TYPE_KEYS = (
    *("label", "labels", "type", "entity", "tag", "entity_group", "displayName", "entityLabel"),
    *("classname", "category"),
)

# On average a paragraph has at least so many words.
_PARAGRAPH_WORDS = 3
TOKEN_TASK_HINT = (
    "data.task=token_classification model=token_classification callbacks.checkpoint.monitor=val/f1 "
    "callbacks.checkpoint.mode=max labels words"
)
_EXPECTED_SPANS = (
    'expected spans as [0, 5, "PER"] or as {"start": 0, "end": 5, "label": "PER"}, in characters '
    "of the text"
)


class EntitySpan(NamedTuple):
    """An entity in a text: its first character, the one behind its last, and its type."""

    begin: int
    end: int
    type: str


@dataclass(frozen=True)
class TokenLabels:
    """What is said of the words of a text.

    Args:
        tags: one of each word, where the file gives words; None where it gives spans.
        spans: the entities of a text whose words are not given.
        remarks: on spans, `utf16`, `quoted` or `several` for each one concerned (`parse_spans`).
    """

    tags: tuple[str | int, ...] | None = None
    spans: tuple[EntitySpan, ...] = ()
    remarks: tuple[str, ...] = ()


def find_words(text: str) -> tuple[WordSpan, ...]:
    """The words of a text: runs of letters and digits, and every other visible character."""
    return tuple(match.span() for match in _WORD_PATTERN.finditer(text))


def join_words(words: Sequence[str]) -> tuple[str, tuple[WordSpan, ...]]:
    """The text that words make with a blank between them, and where each stands in it."""
    spans, begin = [], 0
    for word in words:
        spans.append((begin, begin + len(word)))
        begin += len(word) + 1
    return " ".join(words), tuple(spans)


def is_word_list(value: Any) -> TypeGuard[list[str]]:
    """Whether a value holds the words of a text."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def are_paragraphs(items: Sequence[str], labels: int) -> bool:
    """Whether a list holds texts of several words and no words, each with one of so many labels."""
    several = sum(len(item.split()) for item in items) >= _PARAGRAPH_WORDS * len(items) > 0
    return several or (len(items) != labels and any(len(item.split()) > 1 for item in items))


def is_span_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether a value is a list of spans, or of what holds spans."""
    return isinstance(value, list) and bool(value) and all(map(_may_be_span, value))


def _may_be_span(item: Any) -> bool:
    if isinstance(item, Mapping):
        return True
    return isinstance(item, list | tuple) and len(item) >= 2 and isinstance(item[0], int)


def holds_entities(value: Any) -> bool:
    """Whether a value is a list of entities that `parse_spans` understands."""
    if not is_span_list(value):
        return False
    try:
        return bool([_parse_span(item, "") for item in _list_span_items(value)])
    except UserError:
        return False


def split_at_blanks(line: str) -> list[str]:
    """The columns of a line without tabs. A blank of another kind, such as one that does not break
    in a number, belongs to a word, unless no other one stands in the line.
    """
    cells = [cell for cell in line.strip(" \r\n").split(" ") if cell]
    return cells if len(cells) > 1 else line.split()


def looks_like_tags(lines: Sequence[str]) -> bool:
    """Whether lines are those of a CoNLL file: columns of which the last, the third or the first
    holds O and tags of entities, and blank lines between sentences.
    """
    rows = [
        line.split("\t") if "\t" in line.strip() else split_at_blanks(line)
        for line in lines
        if line.strip() and not line.startswith(("#", "-DOCSTART-"))
    ]
    if len({len(row) for row in rows}) != 1 or len(rows[0]) < 2 or all(map(str.strip, lines)):
        return False
    tags = [row[-1].strip() for row in rows]
    # types without prefixes, as of Few-NERD
    is_plain = len(rows[0]) == 2 and not any(" " in cell.strip() for row in rows for cell in row)
    if is_plain and OUTSIDE in tags and 2 <= len({*tags}) <= len(tags) / 2:
        return True
    places = {-1, min(2, len(rows[0]) - 1), *([0] if len(rows[0]) == 2 else [])}
    return any(_are_tags({row[place].strip() for row in rows}) for place in places)


def begins_with_tags(rows: Sequence[Sequence[str]]) -> bool:
    """Whether rows are a tag and a word behind it, as in the corpora of MIT."""
    return (
        {len(row) for row in rows} == {2}
        and _are_tags({row[0] for row in rows})
        and not _are_tags({row[1] for row in rows})
    )


def _are_tags(tags: set[str]) -> bool:
    """Whether these are O and tags of entities, with types (B-PER) or all without (B, I)."""
    if len(tags) < 2:
        return False
    if tags <= _NAMELESS_TAGS:
        return OUTSIDE in tags
    return all(tag == OUTSIDE or TAG_PATTERN.fullmatch(tag) for tag in tags)


def parse_tags(value: Any, words: Sequence[Any], where: str) -> TokenLabels | None:
    """The tags of a row whose words are given; None where they are missing.

    Raises:
        UserError: there are not as many tags as words, or they are no tags.
    """
    if value is None:
        return None
    if not isinstance(value, list):
        raise UserError(
            f"{where}: the words have {value!r:.60} for tags; expected a list with a tag for each "
            "word (data.source.label)"
        )
    if len(value) != len(words):
        raise UserError(
            f"{where}: {len(words)} words and {len(value)} tags; expected a tag for each word "
            "(data.source.text, data.source.label)"
        )
    for tag in value:
        if isinstance(tag, bool) or not isinstance(tag, str | int) or tag == "":
            raise UserError(f"{where}: the tag {tag!r:.60} is neither a text nor a whole number")
    return TokenLabels(tags=tuple(value))


def parse_spans(value: Sequence[Any], text: str, where: str) -> TokenLabels:
    """The entities of a row, as spaCy, doccano, Label Studio and Prodigy write them.

    Tools that run in a browser may count in units of UTF-16, in which an emoji is two characters.
    Spans of a row are read so (`utf16`) where this brings all of them to borders of words and, if
    they bring their own text, to that, and counting characters does not. A span that brings another
    text than stands at its place is remarked (`quoted`), and so is one with several labels, of
    which the first is read (`several`).

    Raises:
        UserError: one of them is no span of the text.
    """
    items = _list_span_items(value)
    spans, remarks = [_parse_span(item, where) for item in items], []
    quotes = [_find_quote(item) for item in items]
    if max(text, default="") > "\uffff" and not _are_fitting(spans, quotes, text):
        recounted = [_count_characters(span, text) for span in spans]
        if _are_fitting(recounted, quotes, text):
            remarks = [
                "utf16" for before, span in zip(spans, recounted, strict=True) if before != span
            ]
            spans = recounted
    for span in spans:
        if not 0 <= span.begin < span.end <= len(text):
            raise UserError(
                f"{where}: the span {list(span)} is none of the text, which has {len(text)} "
                "characters (data.source.label)"
            )
    remarks += ["several"] * sum(map(_has_several_types, items))
    for span, quote in zip(spans, quotes, strict=True):
        if quote is not None and not _is_quoted(span, quote, text):
            remarks.append("quoted")
    return TokenLabels(spans=tuple(sorted(spans)), remarks=tuple(remarks))


def _find_quote(item: Any) -> str | None:
    """The text of a span that a file writes beside its offsets."""
    quote = item.get("text") if isinstance(item, Mapping) else None
    return quote if isinstance(quote, str) else None


def _has_several_types(item: Any) -> bool:
    types = _find_key(item, _TYPE_KEYS) if isinstance(item, Mapping) else None
    return isinstance(types, list) and len(types) > 1


def _is_quoted(span: EntitySpan, quote: str, text: str) -> bool:
    # Label Studio writes a line break as a backslash and an n
    return text[span.begin : span.end].split() == quote.replace("\\n", " ").split()


def _are_fitting(spans: Sequence[EntitySpan], quotes: Sequence[str | None], text: str) -> bool:
    """Whether spans stand at borders of words, and where their own text is."""
    words = find_words(text)
    begins, ends = {begin for begin, _ in words}, {end for _, end in words}
    return all(
        span.begin in begins and span.end in ends
        if quote is None
        else 0 <= span.begin < span.end <= len(text) and _is_quoted(span, quote, text)
        for span, quote in zip(spans, quotes, strict=True)
    )


def _count_characters(span: EntitySpan, text: str) -> EntitySpan:
    """A span whose offsets count units of UTF-16, in characters."""
    units = text.encode("utf-16-le", "surrogatepass")
    begin, end = (
        len(units[: 2 * place].decode("utf-16-le", "replace")) for place in (span.begin, span.end)
    )
    return EntitySpan(begin, end, span.type)


def _list_span_items(value: Sequence[Any]) -> list[Any]:
    """What describes a span; Label Studio has the results of annotators around them."""
    items: list[Any] = []
    for item in value:
        if isinstance(item, Mapping) and isinstance(item.get("result"), list):
            # the first annotator's
            return _list_span_items(item["result"])
        if isinstance(item, Mapping) and isinstance(item.get("value"), Mapping):
            # others are relations and choices
            if _find_key(item["value"], _BEGIN_KEYS) is not None:
                items.append(item["value"])
            continue
        items.append(item)
    return items


def _parse_span(item: Any, where: str) -> EntitySpan:
    if isinstance(item, Mapping):
        begin, end = _find_key(item, _BEGIN_KEYS), _find_key(item, _END_KEYS)
        name = _find_key(item, _TYPE_KEYS)
        if isinstance(name, list) and name:
            name = name[0]
    elif isinstance(item, list | tuple) and len(item) >= 3:
        begin, end, name = item[:3]
    else:
        begin = end = name = None
    are_numbers = all(isinstance(one, int) and not isinstance(one, bool) for one in (begin, end))
    if not are_numbers or not isinstance(name, str) or not name.strip():
        raise UserError(f"{where}: {item!r:.80} is no entity; {_EXPECTED_SPANS}")
    return EntitySpan(int(begin), int(end), name.strip())


def _find_key(item: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)


def require_token_labels(record: "RawRecord") -> TokenLabels:
    """The tags or entities of a row; raises UserError if it is labelled otherwise."""
    if isinstance(record.label, TokenLabels):
        return record.label
    if record.label in ((), "[]") and record.words is None:
        return TokenLabels()
    raise UserError(
        f"{record.where}: the label is {record.label!r:.60}; expected a list with a tag for each "
        "word beside a list of words, or entities as spans of characters",
        key="data.source.label",
        hint="data.source.format=conll reads a word and its tag in each line",
    )
