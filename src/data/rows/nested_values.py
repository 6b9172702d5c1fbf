"""Values inside others, by paths of keys with dots between them."""

from collections.abc import Iterator
from typing import Any

_PLACE_KEYS = frozenset(("start", "begin", "start_offset", "start_char", "offset"))


def list_keys(row: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in row.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from list_keys(value, f"{prefix}{key}.")


def flatten_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its objects' values by their paths of keys."""
    values = {key: look_up(row, key) for key in list_keys(row)}
    return {key: value for key, value in values.items() if not isinstance(value, dict)}


def look_up(row: dict[str, Any], column: str) -> Any:
    """The value of a key or of a path with dots; None if there is none. A key goes first."""
    if column in row:
        return row[column]
    for dot in (place for place, character in enumerate(column) if character == "."):
        if isinstance(inner := row.get(column[:dot]), dict):
            return look_up(inner, column[dot + 1 :])
    return None


def join_parts(value: Any) -> str | None:
    """The text of a list whose parts are texts and objects with a `type` and a `text`, as chats are
    exported: ["see ", {"type": "link", "text": "example.org"}]; None of any other value.
    """
    if not isinstance(value, list) or not any(isinstance(part, dict) for part in value):
        return None
    texts = [part.get("text") if _is_part(part) else part for part in value]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else None


def _is_part(part: Any) -> bool:
    # entities have a text and a place in another one
    return isinstance(part, dict) and "type" in part and _PLACE_KEYS.isdisjoint(part)
