"""A command that trains on files, from the options by which they are read."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from src.config.parse_failures import explain_parse_failure


def propose_command(
    task: str, source: Mapping[str, Any], kept: Sequence[str], *, has_entities: bool = True
) -> str:
    """The command that trains on files, as it is typed in a shell.

    Args:
        has_entities: whether tags of words are about entities, of which F1 is measured.
        source: options of `data.source`.
        kept: further overrides, as they were typed.
    """
    experiment = "mlm_files" if task == "masked_lm" else "files"
    options = [f"data.source.{key}={_quote_value(value)}" for key, value in source.items()]
    metrics = {
        "regression": "pearson",
        "multi_label": "f1_macro",
        "token_classification": "f1" if has_entities else "accuracy",
    }
    if task in metrics:
        options += [
            f"data.task={task}",
            f"model={task}",
            f"callbacks.checkpoint.monitor=val/{metrics[task]}",
            "callbacks.checkpoint.mode=max",
        ]
    return "python -m src.run " + shlex.join([f"+experiment={experiment}", *options, *kept])


def parse_typed_value(override: str) -> Any:
    """The value of an override as Hydra reads it.

    Raises:
        UserError: it cannot be read.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(override).value()
    except HydraException as error:
        raise explain_parse_failure(override) from error


def _quote_value(value: Any) -> str:
    """A value as Hydra's grammar reads it back."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{','.join(map(_quote_value, value))}]"
    text = str(value)
    plain = re.fullmatch(r"[\w./~+-]+", text, re.ASCII)
    if plain and not re.fullmatch(r"(?i)[-+]?[\d._e+-]+|true|false|null|nan|[-+]?inf", text):
        return text
    # a backslash is special only before a quote
    escaped = re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + '\\"' * bool(found[2]), text)
    return f'"{escaped}"'
