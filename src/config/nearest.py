"""The key that was probably meant, where the one that was typed is not there."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from src.config.choices import choices, content, groups, having, typed
from src.terms.fault import suggestion

_ALIKE = 0.7  # of a name that stands elsewhere; more than beside the wrong one, since there are many


def absent(key: str, present: Any) -> str | None:
    """The message about a dotted key that is not in the plain values `present`, with the nearest one; None if it is."""
    node: Any = present
    seen: list[str] = []
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            break
        node = node[part]
        seen.append(part)
    else:
        return None
    wrong = ".".join([*seen, part])
    names = {str(each) for each in node if not str(each).startswith("_")} if isinstance(node, Mapping) else set()
    names |= set() if seen else {each for each in groups() if "/" not in each and each not in ("tracking", "search")}
    beside = suggestion(part, names)
    if found := _elsewhere(key, present):
        hint = f"did you mean '{found}'?"
    elif found := having(wrong):
        hint = f"{found} has it"
    elif beside.startswith("did"):
        hint = beside
    elif found := meant(part, present) if not seen else "":
        hint = f"did you mean '{found}'?"
    elif found := offered(part):
        hint = f"did you mean '{found}'? ({having(found)} has it)"
    elif seen and not names:
        hint = f"{'.'.join(seen)} is a value"
    else:
        hint = beside
    return f"{wrong}: there is no such key; {hint}"


def meant(key: str, present: Any) -> str:
    """The dotted key of `present` whose last part is most like that of `key`; nothing where none is like it."""
    keys = {each.rpartition(".")[2]: each for each in reversed(list(_keys("", present)))}
    near = get_close_matches(key.rpartition(".")[2], keys, n=1, cutoff=_ALIKE)
    return _as_typed(keys[near[0]]) if near else ""


def offered(name: str) -> str:
    """A dotted key of that name which some choice of some group would bring; nothing where none does."""
    for group in sorted(groups() - {"experiment"}):
        if group.partition("/")[0] == "search":  # of several runs, and no key of one
            continue
        if any(name in content(group, each) for each in choices(group)):
            return f"{group.replace('/', '.')}.{name}"
    return ""


def required(key: str) -> str:
    """How a key that must be given is typed: a group by its choices, anything else by a value."""
    group = key.replace(".", "/")
    return typed(group, choices(group)) if group in groups() else f"{key}=VALUE"


def _elsewhere(key: str, present: Any) -> str:
    """The key as typed but for slashes or what stands before it; else the first that ends in the same name."""
    plain = key.replace("/", ".")
    keys = list(_keys("", present))
    if plain in keys:
        return _as_typed(plain)
    ends = (plain, plain.rpartition(".")[2])
    return next((_as_typed(each) for end in ends for each in keys if each.endswith(f".{end}")), "")


def _as_typed(key: str) -> str:
    """A group is chosen with slashes."""
    group = key.replace(".", "/")
    return group if group in groups() else key


def _keys(path: str, node: Any) -> Iterator[str]:
    """Every dotted key of plain values, in their order."""
    for key, each in node.items() if isinstance(node, Mapping) else ():
        yield f"{path}.{key}".lstrip(".")
        yield from _keys(f"{path}.{key}".lstrip("."), each)
