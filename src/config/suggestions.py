"""Finds the key that was probably meant when the typed one does not exist."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from src.config.foreign_keys import (
    ANSWERED_KEYS,
    explain_foreign_key,
    find_same_key,
    leave_argument_node_out,
)
from src.config.groups import (
    ADDED_GROUPS,
    format_group_override,
    list_groups,
    list_options,
    load_option,
    options_with_key,
    say_who_has,
)
from src.core.user_errors import UserError, did_you_mean, format_suggestion, suggest

# What is wrong with a key that does not exist.
ABSENT_KEY = "there is no such key"
# Nodes that may have any names, and what a name stands for.
_OPEN_NODES = {"callbacks": "a callback", "model.metrics": "a metric"}
# The similarity (0 to 1) that a name elsewhere in the config must have to be suggested. There are
# many such names, so it is higher than for a neighbour of the wrong key.
_SIMILARITY_CUTOFF = 0.7
# Keys of other programs whose value may be one of our experiments, which are named after data.
_DATA_NAMES = ("dataset", "dataset_name", "task", "task_name", "data_name")


def unknown_key_error(key: str, present: Any, typed: str = "") -> UserError | None:
    """The error of a dotted key that does not exist, with the nearest key that does.

    Args:
        key: the dotted key.
        present: the plain values in which it is looked up.
        typed: the whole override, where one may add keys.

    Returns:
        None if the key exists.
    """
    node: Any = present
    existing: list[str] = []
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            break
        node = node[part]
        existing.append(part)
    else:
        return None
    wrong = ".".join([*existing, part])
    if plain := leave_argument_node_out(key):
        inner = unknown_key_error(plain, present, typed)
        hint = did_you_mean(plain) if inner is None else inner.hint
        return UserError(ABSENT_KEY, key=key, hint=hint)
    names = (
        {str(name) for name in node if not str(name).startswith("_")}
        if isinstance(node, Mapping)
        else set()
    )
    names |= (
        set()
        if existing
        else {
            group
            for group in list_groups()
            if "/" not in group and group not in ("tracking", "search")
        }
    )
    if typed and (added := _explain_addition(key, node, typed)):
        hint = added
    elif typed and not suggest(part, names) and (how := _explain_open_node(wrong, key, typed)):
        hint = how
    elif not existing and wrong != key and (answer := _explain_foreign_key(key, present, typed)):
        # what is wanted is rather its last name: `paths.data_dir`
        hint = answer
    elif (not existing or wrong in ANSWERED_KEYS) and (
        answer := _explain_foreign_key(wrong, present, typed)
    ):
        # before keys that only end in the same name
        hint = answer
    elif meant := _find_key_elsewhere(key, present):
        hint = did_you_mean(meant)
    elif answer := _explain_foreign_key(wrong, present, typed):
        hint = answer
    elif owners := say_who_has(wrong):
        hint = owners
    elif near := suggest(part, names):
        hint = did_you_mean(near)
    elif meant := find_key_in_options(part):
        hint = f"{did_you_mean(meant)} ({say_who_has(meant)})"
    elif meant := closest_key(part, present) if not existing else "":
        hint = did_you_mean(meant)
    elif existing and not names:
        hint = f"{'.'.join(existing)} is a value"
        if hint.startswith("data.label_map "):
            hint += f", typed whole: 'data.label_map={{{part}: NAME}}'"
    else:
        hint = format_suggestion(part, names)
    return UserError(ABSENT_KEY, key=wrong, hint=hint)


def _explain_addition(key: str, node: Any, typed: str) -> str | None:
    """The override that adds a key: the class of a node that may have any name, or an argument of a
    class that is not ours. None for another key.

    Args:
        key: as typed.
        node: the values beside which it is missing.
        typed: the whole override.
    """
    plus = shlex.quote(f"+{typed}")
    for path, noun in _OPEN_NODES.items():
        if re.fullmatch(rf"{re.escape(path)}\.\w+\._target_", key):
            return f"{noun} is added with +, as {plus}"
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if isinstance(target, str) and not target.startswith("src."):
        return f"an argument of {target.rpartition('.')[2]} is added with +, as {plus}"
    return None


def _explain_open_node(wrong: str, key: str, typed: str) -> str | None:
    """How a name is added to a node that may have any; None if the key is of no such node, or an
    option of a group has the name.

    Args:
        wrong: the part of the key up to the first name that is missing.
        key, typed: as of `_explain_addition`.
    """
    for path, noun in _OPEN_NODES.items():
        name, _, argument = key.removeprefix(f"{path}.").partition(".")
        if wrong in (path, f"{path}.{name}") and name != path and not options_with_key(wrong):
            rest = f" {shlex.quote(f'+{typed}')}" if argument else ""
            return f"{noun} is added by +{path}.{name}._target_=CLASS{rest}"
    return None


def closest_key(key: str, present: Any) -> str:
    """The dotted key of `present` whose last part is most like that of `key`; empty if none is
    like it.
    """
    keys = {known.rpartition(".")[2]: known for known in reversed(list(_iter_keys("", present)))}
    near = suggest(key.rpartition(".")[2], keys, cutoff=_SIMILARITY_CUTOFF)
    return _format_key(keys[near]) if near else ""


def find_key_in_options(name: str) -> str:
    """The dotted key under which options of some group have that name, of the group where most
    have; empty if no option has it.
    """
    counts = {
        group: sum(name in load_option(group, option) for option in list_options(group))
        for group in sorted(list_groups() - set(ADDED_GROUPS))
        # A single run has no search.
        if group.partition("/")[0] != "search"
    }
    group = max(counts, key=lambda group: counts[group])
    return f"{group.replace('/', '.')}.{name}" if counts[group] else ""


def format_required_override(key: str) -> str:
    """A required key as it is typed: a group with its options, any other key with a value."""
    group = key.replace(".", "/")
    if key == "init_from":
        return "init_from=ID, of a run with an encoder (python -m src.runs lists ids)"
    return (
        format_group_override(group, list_options(group))
        if group in list_groups()
        else f"{key}=VALUE"
    )


def _explain_foreign_key(key: str, present: Any, typed: str) -> str | None:
    """The answer to a key that another trainer has, with the options that have the key which is
    meant where the config lacks it.
    """
    keys = set(_iter_keys("", present))
    meant, value = find_same_key(key, keys), typed.partition("=")[2]
    if key.rpartition(".")[2] in _DATA_NAMES and value.rpartition("/")[2] in list_options(
        "experiment"
    ):
        return did_you_mean(f"+experiment={value.rpartition('/')[2]}")
    # what reads as one word can be typed as it is
    shown = value if meant is None and re.fullmatch(r"[\w./-]+", value) else ""
    answer = explain_foreign_key(key, shown, keys)
    if meant is not None and meant not in keys and (owners := say_who_has(meant)):
        return f"{answer} ({owners})"
    return answer


def _find_key_elsewhere(key: str, present: Any) -> str:
    """The existing key that equals `key` except for slashes or missing parents, or else the first
    one with the same last part; empty if there is none.
    """
    plain = key.replace("/", ".")
    keys = list(_iter_keys("", present))
    if plain in keys:
        return _format_key(plain)
    ends = (plain, plain.rpartition(".")[2])
    return next(
        (_format_key(known) for end in ends for known in keys if known.endswith(f".{end}")), ""
    )


def _format_key(key: str) -> str:
    """The key as typed: a group is written with slashes."""
    group = key.replace(".", "/")
    return group if group in list_groups() else key


def _iter_keys(path: str, node: Any) -> Iterator[str]:
    """Every dotted key of plain values, in their order."""
    for key, value in node.items() if isinstance(node, Mapping) else ():
        yield f"{path}.{key}".lstrip(".")
        yield from _iter_keys(f"{path}.{key}".lstrip("."), value)
