"""Numbers in the files of a config that YAML reads as others than are written there: those that
begin with a zero are octal (`010` is 8), those with a colon count in sixties (`1:30` is 90), and a
tag such as `1.10` loses its last digit.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from src.config.groups import list_groups, list_option_files
from src.core.user_errors import UserError, UserErrors

_OCTAL = re.compile(r"[+-]?0[0-7_]*[1-7][0-7_]*")
_SIXTIES = re.compile(r"[+-]?\d+(:[0-5]?\d)+(\.\d*)?")
_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def check_written_numbers(arguments: Sequence[str]) -> None:
    """Raise UserErrors for such numbers in the files that a command line chooses."""
    errors = []
    for argument in arguments:
        group, _, options = argument.lstrip("+").partition("=")
        for option in re.split(r"[\[\],\s]+", options) if group in list_groups() else ():
            for file in list_option_files(group, option):
                errors += _find_misread_numbers(file)
    if errors:
        raise UserErrors(errors)


def _find_misread_numbers(file: Path) -> list[UserError]:
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        # composing tells what is wrong
        return []
    return [
        UserError(
            f"YAML reads {node.value} as the number {read}",
            where=f"{file}, line {node.start_mark.line + 1}",
            hint=f"write {_write_plainly(node.value, read)} or, for a text, '{node.value}'",
        )
        for node, read in _iter_misread(root, ())
    ]


def _write_plainly(text: str, read: object) -> object:
    return re.sub(r"^([+-]?)0+", r"\1", text) if _OCTAL.fullmatch(text) else read


def _iter_misread(
    node: yaml.Node | None, path: tuple[str, ...]
) -> Iterator[tuple[yaml.ScalarNode, object]]:
    """The scalars that are read as other numbers, with these."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _iter_misread(value, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _iter_misread(value, path)
    elif isinstance(node, yaml.ScalarNode) and node.style is None:
        is_label = path[:1] == ("tags",) and _FLOAT.fullmatch(node.value)
        if _OCTAL.fullmatch(node.value) or _SIXTIES.fullmatch(node.value):
            yield node, yaml.safe_load(node.value)
        elif is_label and repr(float(node.value)) != node.value:
            yield node, float(node.value)
