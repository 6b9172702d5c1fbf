"""The columns that a source takes of a row, and the record that they make."""

import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from src.core.formatting import truncate_end
from src.core.user_errors import UserError, UserErrors, format_suggestion, suggest
from src.data.rows.labels import LabelSet, RawLabel
from src.data.rows.nested_values import InnerValues, join_parts
from src.data.rows.records import RawRecord
from src.data.rows.text_template import fill_template
from src.data.rows.token_labels import (
    are_paragraphs,
    is_span_list,
    is_word_list,
    join_words,
    parse_spans,
    parse_tags,
)

_WORDS_REMARK = "whose text is a list, joined by spaces"
_PARTS_REMARK = "whose text is in parts, which are joined"
_UNKNOWN_CLASS = -1
# More columns than these are not listed in a message.
_SHOWN_COLUMNS = 20


class ColumnSelection(NamedTuple):
    """Which columns to take: names, or positions from 0 in a table without a header.

    Several columns of `text` are joined, in their order, or by a template that names all of them.
    Several columns of `label` say of one label each whether a row has it. `split_column` says to
    which split a row belongs.
    """

    text: str | int | Sequence[str | int]
    pair: str | int | None
    label: str | int | Sequence[str | int] | None
    split_column: str | int | None = None
    template: str | None = None

    @property
    def text_columns(self) -> tuple[str | int, ...]:
        return (self.text,) if isinstance(self.text, str | int) else tuple(self.text)

    @property
    def label_columns(self) -> tuple[str | int, ...]:
        if self.label is None:
            return ()
        return (self.label,) if isinstance(self.label, str | int) else tuple(self.label)

    @property
    def has_label_columns(self) -> bool:
        """Whether each label has a column of its own."""
        return self.label is not None and not isinstance(self.label, str | int)

    def requested_columns(self) -> list[tuple[str, str | int]]:
        """The requested columns, with the last part of their config key."""
        key = "text" if self.template is None else "template"
        pairs: list[tuple[str, str | int | None]] = [(key, name) for name in self.text_columns]
        pairs += [("pair", self.pair), *(("label", name) for name in self.label_columns)]
        pairs.append(("split_column", self.split_column))
        return [(key, column) for key, column in pairs if column is not None]

    def pack_labels(self, found: Sequence[Any]) -> Any:
        """What stands in the columns of the label: a tuple, "" where one is empty, if each label
        has its own; else what its only column holds; None without a label.
        """
        if self.has_label_columns:
            return tuple("" if label is None else label for label in found)
        return found[0] if found else None

    def join_texts(self, texts: Sequence[str]) -> str:
        """The texts of the columns of `text` as one: as the template says, or a line for each that
        is not empty.
        """
        if self.template is not None:
            columns = map(str, self.text_columns)
            return fill_template(self.template, dict(zip(columns, texts, strict=True)))
        return texts[0] if len(texts) == 1 else "\n".join(text for text in texts if text.strip())

    def requested_names(self) -> list[str]:
        """The requested columns as names, without repeats."""
        return list(dict.fromkeys(str(column) for _, column in self.requested_columns()))


def find_column_errors(
    name: str, columns: ColumnSelection, names: Sequence[str], *, has_header_line: bool = False
) -> Iterator[UserError]:
    """The errors of a table that lacks requested columns or has one twice.

    Args:
        name: how the message calls the table.
        names: of its columns.
        has_header_line: whether the names are the first line of a CSV or TSV file, which may be no
            header, or have other separators.
    """
    # blanks around them need not be typed
    shown = [name.strip() for name in names] if has_header_line else names
    for key, column in columns.requested_columns():
        if str(column) not in names:
            hint, alternative = _suggest_columns(column, shown), None
            if suggest(column, shown) is not None:
                hint = f"{hint} Columns: {', '.join(shown)}"
            elif has_header_line:
                alternative = "data.source.header", "false where the first line holds no names"
            yield UserError(
                f"{name} has no such column",
                key=f"data.source.{key}",
                value=column,
                hint=hint,
                alternative=alternative,
            )
        elif names.count(str(column)) > 1:
            yield UserError(
                f"{name} has {names.count(str(column))} columns of that name",
                key=f"data.source.{key}",
                value=column,
                hint="rename one of them in the file",
            )


def _suggest_columns(column: str | int, names: Sequence[str]) -> str:
    """The nearest column, or all, of which there may be too many to be shown."""
    if suggest(column, names) is not None or len(names) <= _SHOWN_COLUMNS:
        return format_suggestion(column, names)
    shown = ", ".join(truncate_end(name, 40) for name in names[:_SHOWN_COLUMNS])
    return f"valid: {shown} and {len(names) - _SHOWN_COLUMNS} more"


def check_columns(name: str, columns: ColumnSelection, names: Sequence[str]) -> None:
    """Raise UserErrors if a table lacks requested columns or has one twice."""
    if errors := list(find_column_errors(name, columns, names)):
        raise UserErrors(errors)


def build_record(columns: ColumnSelection, row: dict[str, Any], where: str) -> RawRecord:
    """The record of a row, given by the names of its columns. A list of texts where a text is
    expected is its words; their label is a tag for each of them, that of a text may be spans.

    Raises:
        UserError: something else stands there than a text, a label or a list of them.
    """
    if _has_tagged_words(columns, row):
        return _build_word_record(columns, row, where)
    texts = [_check_text(row.get(str(name)), "text", name, where) for name in columns.text_columns]
    pair = (
        None
        if columns.pair is None
        else _check_text(row.get(str(columns.pair)), "pair", columns.pair, where)
    )
    text, label_names = columns.join_texts(texts), columns.label_columns
    if len(label_names) == 1 and is_span_list(spans := row.get(str(label_names[0]))):
        return RawRecord(text, pair, parse_spans(spans, text, where), where)
    asked = [*columns.text_columns, *([] if columns.pair is None else [columns.pair])]
    are_words = any(is_word_list(row.get(str(name))) for name in asked)
    are_parts = any(join_parts(row.get(str(name))) is not None for name in asked)
    labels = [parse_label(row.get(str(name)), where) for name in label_names]
    return RawRecord(
        text,
        pair,
        columns.pack_labels(labels),
        where,
        remark=_WORDS_REMARK if are_words else _PARTS_REMARK if are_parts else None,
    )


def clear_unknown_classes(columns: ColumnSelection, row: dict[str, Any]) -> None:
    """Take -1, by which the library `datasets` marks a missing class, out of a row's label; a list
    of which nothing is left is missing. The tags of words are left as they are.
    """
    label = row[str(columns.label)]
    if label == _UNKNOWN_CLASS:
        row[str(columns.label)] = None
    elif isinstance(label, list) and not isinstance(row.get(str(columns.text)), list):
        known = [one for one in label if one != _UNKNOWN_CLASS]
        row[str(columns.label)] = known if known or not label else None


def _has_tagged_words(columns: ColumnSelection, row: dict[str, Any]) -> bool:
    """Whether a row's text is a list of words, and its label one for each word or not asked for."""
    if len(columns.text_columns) != 1 or columns.pair is not None:
        return False
    labels, words = columns.label_columns, row.get(str(columns.text_columns[0]))
    if not is_word_list(words):
        return False
    if not labels:
        return True
    tags = row.get(str(labels[0]))
    if len(labels) > 1 or not isinstance(tags, list) or isinstance(tags, InnerValues):
        return False
    return not are_paragraphs(words, len(tags))


def _build_word_record(columns: ColumnSelection, row: dict[str, Any], where: str) -> RawRecord:
    name = columns.text_columns[0]
    words = [_check_text(word, "text", name, where) for word in row[str(name)]]
    text, spans = join_words(words)
    if not columns.label_columns:
        return RawRecord(text, None, None, where, words=spans, remark=_WORDS_REMARK)
    label = parse_tags(row.get(str(columns.label_columns[0])), words, where)
    return RawRecord(text, None, label, where, words=spans)


def _check_text(value: Any, key: str, column: str | int, where: str) -> str:
    if value is None:
        return ""
    value = _decode_bytes(value)
    if is_word_list(value):
        value = " ".join(value)
    elif (joined := join_parts(value)) is not None:
        value = joined
    if not isinstance(value, str):
        raise UserError(
            f"{where}: '{column}' is {value!r:.60} ({type(value).__name__}); expected a text "
            f"(data.source.{key})"
        )
    if not value.isascii() and re.search("[\ud800-\udfff]", value):
        raise UserError(
            f"{where}: '{column}' has half of a surrogate pair, which is not a character"
        )
    return value


def parse_label(value: Any, where: str) -> RawLabel | LabelSet:
    """A label as a reader found it, a tuple of a list of labels, or None where it is missing."""
    if isinstance(value, list):
        labels = (_parse_single_label(item, where) for item in value)
        return tuple(label for label in labels if label is not None)
    return _parse_single_label(value, where)


def _parse_single_label(value: Any, where: str) -> RawLabel:
    if (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    ):
        return None
    value = _decode_bytes(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if not isinstance(value, str | int | float):
        raise UserError(
            f"{where}: the label is {value!r:.60} ({type(value).__name__}); expected a text, a "
            "number, or a list of them "
            "(data.source.label)"
        )
    return value


def _decode_bytes(value: Any) -> Any:
    """Bytes as the text that they are in UTF-8, as columns without that mark hold it; anything
    else, and bytes that are no UTF-8, unchanged.
    """
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
