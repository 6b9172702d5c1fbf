"""Nested mappings and lists by dotted keys."""

from src.core.nested_config import get_by_path, iter_leaves, iter_nodes, map_leaves

CONFIG = {"a": {"b": 1, "c": [2, {"d": 3}]}, "e": {}}


def test_nodes_come_innermost_first() -> None:
    keys = [key for key, _ in iter_nodes(CONFIG)]
    assert keys == ["a.b", "a.c[0]", "a.c[1].d", "a.c[1]", "a.c", "a", "e", ""]
    assert dict(iter_nodes(CONFIG, "x"))["x.a.c[1].d"] == 3


def test_a_list_is_one_leaf() -> None:
    assert dict(iter_leaves(CONFIG)) == {"a.b": 1, "a.c": [2, {"d": 3}], "e": {}}


def test_leaves_are_changed_in_a_copy() -> None:
    assert map_leaves(lambda leaf: leaf + 1, CONFIG) == {
        "a": {"b": 2, "c": [3, {"d": 4}]},
        "e": {},
    }
    assert CONFIG["a"]["b"] == 1


def test_values_by_key() -> None:
    assert get_by_path(CONFIG, "a.b") == 1
    assert get_by_path(CONFIG, "a.b.c") is get_by_path(None, "a") is None
