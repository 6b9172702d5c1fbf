"""Lists every key of the config: its type, default and meaning, read off the classes that conf/
names. Written as docs/keys.md.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, get_type_hints

from src.config.groups import ADDED_GROUPS, list_groups, list_options, load_option
from src.core.validation import describe_annotation

_OWN_CODE = "src."
# Keys of a run that stand in no group.
_RUN = "src.pipeline.run.run"
_RUN_KEYS = (
    "name",
    "seed",
    "tags",
    "init_from",
    "phases",
    "preset",
    "register",
    "register_alias",
    "resume",
    "fork",
)


class ConfigKey(NamedTuple):
    """A key of the config.

    Args:
        key: as it is typed, such as `model.optim.lr`.
        type: the values that it takes, in words.
        default: as a config file writes it; `by option` where the options of a group differ.
        meaning: what it is for.
    """

    key: str
    type: str
    default: str
    meaning: str


class KeySection(NamedTuple):
    """The keys of one class.

    Args:
        title: where its keys stand, and the options that bring the class.
        meaning: what the class is.
        keys: in the order of its parameters.
    """

    title: str
    meaning: str
    keys: list[ConfigKey]


def list_key_sections() -> list[KeySection]:
    """The keys of a run, and of every class that conf/ names, by where they stand.

    Classes of libraries are left out: their own documentation tells their keys.
    """
    run = _load_target(_RUN)
    meanings = _read_argument_meanings(run)
    run_keys = [
        ConfigKey(name, _describe_type(run, name), _RUN_DEFAULTS[name], meanings[name])
        for name in _RUN_KEYS
    ]
    nodes: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for group in sorted(list_groups() - set(ADDED_GROUPS)):
        for option in list_options(group):
            for key, node in _find_nodes(group.replace("/", "."), load_option(group, option)):
                nodes.setdefault((key, node["_target_"]), {})[f"{group}={option}"] = node
    sections = [
        _describe_class(key, target, options)
        for (key, target), options in sorted(nodes.items())
        if target.startswith(_OWN_CODE)
    ]
    return [KeySection("A run", "What stands in no group.", run_keys), *sections]


def format_key_reference(sections: list[KeySection]) -> str:
    """The sections as Markdown, a table of each."""
    lines = [
        "# Keys",
        "",
        "Every key that a command line of `python -m src.run` or a file in `conf/` may set, with "
        "what it takes, its default and its meaning. Written by `make keys`; do not edit.",
        "",
        "`python -m src.keys learning rate` lists the keys in whose name or meaning both words "
        "occur.",
    ]
    for section in sections:
        lines += ["", f"## {section.title}", "", section.meaning]
        if section.keys:
            lines += ["", "| key | takes | default | meaning |", "| --- | --- | --- | --- |"]
            lines += ["| " + " | ".join(_format_cells(key)) + " |" for key in section.keys]
    return "\n".join(lines) + "\n"


def _format_cells(key: ConfigKey) -> Iterator[str]:
    yield f"`{key.key}`"
    yield key.type.replace("|", "\\|")
    yield key.default if key.default in (_BY_OPTION, "") else f"`{key.default}`"
    yield key.meaning.replace("|", "\\|")


_BY_OPTION = "by option"
_RUN_DEFAULTS = {
    "name": "run",
    "seed": "1",
    "tags": "null",
    "init_from": "null",
    "phases": "null",
    "preset": "null",
    "register": "null",
    "register_alias": "null",
    "resume": "null",
    "fork": "false",
}


def _find_nodes(key: str, content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node with a `_target_`, and where it stands."""
    if "_target_" in content:
        yield key, dict(content)
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _find_nodes(f"{key}.{name}", value)


def _load_target(target: str) -> Callable[..., Any]:
    module, _, name = target.rpartition(".")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded


def _describe_class(key: str, target: str, options: Mapping[str, dict[str, Any]]) -> KeySection:
    cls = _load_target(target)
    meanings = _read_argument_meanings(cls)
    keys = [
        ConfigKey(
            f"{key}.{name}",
            _describe_type(cls, name),
            _find_default(parameter, [node.get(name, _ABSENT) for node in options.values()]),
            meanings.get(name, ""),
        )
        for name, parameter in inspect.signature(cls).parameters.items()
        if not any(isinstance(node.get(name), Mapping) for node in options.values())
        and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    names = ", ".join(f"`{option}`" for option in options)
    summary = inspect.getdoc(cls) or ""
    return KeySection(f"{key}: {cls.__name__}", f"{_join_lines(summary)} ({names})", keys)


_ABSENT = object()


def _find_default(parameter: inspect.Parameter, values: list[Any]) -> str:
    texts = {_format_value(value) for value in values if value is not _ABSENT}
    if len(texts) > 1:
        return _BY_OPTION
    if texts:
        return texts.pop()
    return "" if parameter.default is parameter.empty else _format_value(parameter.default)


def _format_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _describe_type(function: Callable[..., Any], name: str) -> str:
    owner = function.__init__ if inspect.isclass(function) else function
    return describe_annotation(get_type_hints(owner, include_extras=True)[name])


def _read_argument_meanings(documented: Callable[..., Any]) -> dict[str, str]:
    """What the `Args:` of a docstring say of each parameter."""
    section = (inspect.getdoc(documented) or "").partition("Args:\n")[2].split("\n\n")[0]
    entries = re.split(r"^    (?=\w+(?:, \w+)*:)", section, flags=re.MULTILINE)
    meanings = {}
    for entry in filter(None, entries):
        names, _, meaning = entry.partition(":")
        for name in names.split(", "):
            meanings[name.strip()] = " ".join(meaning.split())
    return meanings


def _join_lines(docstring: str) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(docstring.partition("\n\n")[0].split())
