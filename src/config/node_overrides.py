"""Overrides of one node of a stored config, for commands that compose nothing."""

from collections.abc import Collection, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from src.config.parse_failures import explain_parse_failure
from src.config.suggestions import unknown_key_error
from src.core.user_errors import UserError, UserErrors


def parse_node_overrides(
    arguments: Sequence[str], node: str, names: Collection[str]
) -> dict[str, Any]:
    """The values that were typed for the keys of a node, by the last part of each key.

    Args:
        arguments: overrides as `src.run` takes them, such as `data.source.header=false`.
        node: the dotted key of the node, of two parts.
        names: the keys that the node may have.

    Raises:
        UserErrors: overrides that cannot be parsed, of other keys, of several values, or repeated.
    """
    top, _, inner = node.partition(".")
    present = {top: {inner: dict.fromkeys(names)}}
    values: dict[str, Any] = {}
    errors: list[UserError] = []
    for text in arguments:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            errors.append(explain_parse_failure(text))
            continue
        key = override.key_or_group
        name = key.removeprefix(f"{node}.")
        if missing := unknown_key_error(key, present):
            errors.append(missing)
        elif name not in names or override.is_delete():
            errors.append(UserError(f"expected {node}.KEY=VALUE", where=text))
        elif override.is_sweep_override():
            errors.append(UserError("several values, expected one", where=text))
        elif name in values:
            errors.append(UserError(f"{key} is given twice"))
        else:
            values[name] = override.value()
    if errors:
        raise UserErrors(errors)
    return values
