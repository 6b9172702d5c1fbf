"""Plain configs: nested mappings and lists whose values are named by dotted keys."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def get_by_path(config: Any, key: str) -> Any:
    """The value of a dotted key; None where it is absent."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config


def iter_children(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values directly in a mapping or a list, each with its dotted key.

    Keys begin with `path`; an item of a list has its position in brackets: `layers[0].width`.
    """
    if isinstance(value, Mapping):
        yield from ((f"{path}.{key}" if path else str(key), child) for key, child in value.items())
    elif isinstance(value, list):
        yield from ((f"{path}[{position}]", child) for position, child in enumerate(value))


def iter_nodes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value below `value` with its dotted key, and `value` itself last."""
    for key, child in iter_children(value, path):
        yield from iter_nodes(child, key)
    yield path, value


def iter_leaves(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key that holds a value; a list counts as one value, and so does an empty
    mapping.
    """
    for key, value in config.items():
        dotted = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from iter_leaves(value, dotted)
        else:
            yield dotted, value


def map_leaves(change: Callable[[Any], Any], value: Any) -> Any:
    """The same mappings and lists with `change(leaf)` in the place of every other value."""
    if isinstance(value, Mapping):
        return {key: map_leaves(change, child) for key, child in value.items()}
    if isinstance(value, list):
        return [map_leaves(change, child) for child in value]
    return change(value)
