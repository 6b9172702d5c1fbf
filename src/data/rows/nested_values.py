"""Values inside others, by paths of keys with dots between them."""

from collections.abc import Iterator
from typing import Any


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
