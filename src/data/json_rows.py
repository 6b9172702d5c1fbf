"""JSON: one object a line, one array of objects, or one object around such an array."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from src.core.user_errors import UserError, format_suggestion
from src.data.columns import ColumnSelection, build_record, check_columns
from src.data.decoding import InputFile, read_text_lines
from src.data.records import RawRecord

_EXPECTED = "expected one JSON object a line"
_JSON_TYPE_NAMES: dict[type, str] = {
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
}


def read_json_rows(
    file: InputFile, columns: ColumnSelection, *, encoding: str, keep_other: bool = False
) -> Iterator[RawRecord]:
    """Read JSON. Some row must have pair and label, all must have the text.

    A column is a key, or a path of keys with dots between them ("review.text").
    """
    names = read_json_keys(file, columns, encoding=encoding)
    if names:
        check_columns(file.name, columns, names)
    texts = [str(column) for column in columns.text_columns]
    wanted = columns.requested_names()
    for where, row in iter_json_objects(file, encoding, texts):
        values = {column: _look_up(row, column) for column in wanted}
        if all(values[text] is None for text in texts) and not _has_any(texts, row):
            raise UserError(
                f"{where}: no '{texts[0]}' (data.source.text={texts[0]}); "
                f"{format_suggestion(texts[0], row)}"
            )
        yield build_record(columns, values, where)._replace(other=row if keep_other else None)


def read_json_keys(file: InputFile, columns: ColumnSelection, *, encoding: str) -> list[str]:
    """The keys of the first objects, up to where all requested columns have been seen; keys inside
    others as paths with dots. Empty if there is no object, or none with a key.
    """
    names: dict[str, None] = {}
    wanted = set(columns.requested_names())
    texts = [str(column) for column in columns.text_columns]
    for _, row in iter_json_objects(file, encoding, texts):
        names.update(dict.fromkeys(_list_keys(row)))
        if wanted <= names.keys():
            break
    return list(names)


def _list_keys(row: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in row.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _list_keys(value, f"{prefix}{key}.")


def _has_any(columns: Sequence[str], row: dict[str, Any]) -> bool:
    """Whether a row has one of some columns, be it null."""
    return not set(columns).isdisjoint(_list_keys(row))


def _look_up(row: dict[str, Any], column: str) -> Any:
    """The value of a key or of a path with dots; None if there is none. A key goes first."""
    if column in row:
        return row[column]
    for dot in (place for place, character in enumerate(column) if character == "."):
        if isinstance(inner := row.get(column[:dot]), dict):
            return _look_up(inner, column[dot + 1 :])
    return None


def iter_json_objects(
    file: InputFile, encoding: str, texts: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects with where they stand: line by line, or item by item of an array.

    An object that has one of `texts` is a row, whatever arrays it holds.
    """
    first = True
    for number, line in enumerate(read_text_lines(file, encoding), start=1):
        if not line.strip():
            continue
        where = f"{file.name}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if first and (items := _parse_whole_file(file, encoding)) is not None:
                yield from _name_items(file, items)
                return
            reason = (
                f"{error.msg} at column {error.colno}"
                if isinstance(error, json.JSONDecodeError)
                else error
            )
            raise UserError(f"{where}: not valid JSON ({reason}); {_EXPECTED}") from error
        wraps = first and not (isinstance(row, dict) and _has_any(texts, row))
        items = _find_items(row) if wraps else None
        if items is not None and _parse_whole_file(file, encoding) is not None:
            yield from _name_items(file, items)
            return
        first = False
        if not isinstance(row, dict):
            kind = _JSON_TYPE_NAMES.get(type(row), "null")
            raise UserError(f"{where}: {kind} and no object; {_EXPECTED}")
        yield where, row


def _parse_whole_file(file: InputFile, encoding: str) -> list[Any] | None:
    """The items of a file that is one JSON value; None if it is not, or holds no objects."""
    try:
        return _find_items(json.loads("".join(read_text_lines(file, encoding))))
    except (ValueError, RecursionError):
        return None


def _find_items(value: Any) -> list[Any] | None:
    """The objects of an array, or of the only array of objects in an object."""
    if isinstance(value, list):
        return value if value and isinstance(value[0], dict) else None
    if not isinstance(value, dict):
        return None
    arrays = [items for part in value.values() if (items := _find_items_of_array(part))]
    return arrays[0] if len(arrays) == 1 else None


def _find_items_of_array(value: Any) -> list[Any] | None:
    return _find_items(value) if isinstance(value, list) else None


def _name_items(file: InputFile, items: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, item in enumerate(items, start=1):
        where = f"{file.name}, item {number}"
        if not isinstance(item, dict):
            kind = _JSON_TYPE_NAMES.get(type(item), "null")
            raise UserError(f"{where}: {kind} and no object")
        yield where, item
