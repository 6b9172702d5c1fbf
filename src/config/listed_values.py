"""Explains values with commas, of which Hydra makes several runs: what was meant may be one number
(`0,001`, `10,000`), a list or a text. What a key takes decides.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from src.config.allowed_targets import import_target
from src.config.build_nodes import Schema, read_target_schema
from src.config.groups import list_groups
from src.config.overrides import find_sweep_error
from src.config.parse_failures import quote_override
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError
from src.core.validation import is_valid_value, read_comma_numbers

_SEVERAL = "several values make several runs, which -m asks for (python -m src.run -m ...)"
# a part that no number begins with
_ZEROS_FIRST = re.compile(r",0\d")
_CAST = re.compile(r"int\(([^(),]+),([^(),]+)\)")


def find_annotation(key: str, config: Mapping[str, Any], task: Schema) -> Any:
    """What a dotted key of a composed config takes; `Any` where no class says it.

    Args:
        config: the config as plain values.
        task: the schema of the top level.
    """
    path, _, name = key.rpartition(".")
    node = get_by_path(config, path) if path else config
    schema = task if not path else None
    if isinstance(node, Mapping) and isinstance(node.get("_target_"), str):
        try:
            schema = read_target_schema(import_target(node["_target_"]))
        except UserError:
            return Any
    parameter = None if schema is None else schema.parameters.get(name)
    return Any if parameter is None else parameter.annotation


def explain_several_values(override: Override, annotation: Any) -> UserError:
    """The error of several values that are typed for a single run.

    Args:
        annotation: what the key takes.
    """
    text, key = str(override.input_line), override.get_key_element()
    if error := find_mistaken_values(override, annotation):
        return error
    value = text.partition("=")[2]
    hint = None
    if number := _read_number(value, annotation):
        hint = f"as one number it is typed {key}={number}"
    elif "(" in value or override.key_or_group in list_groups():
        pass
    elif _takes_list(f"{key}=[{value}]", annotation):
        hint = f"one list is written {key}=[{value}]"
    elif is_valid_value(annotation, value):
        hint = f"as a text it is typed {quote_override(key, value)}"
    return UserError(_SEVERAL, where=text, hint=hint)


def find_mistaken_values(override: Override, annotation: Any) -> UserError | None:
    """The error of several values that can only be meant as something else, also where several runs
    are asked for; None where they may be several.
    """
    text, key = str(override.input_line), override.get_key_element()
    value = text.partition("=")[2]
    if override.value_type is ValueType.RANGE_SWEEP:
        return find_sweep_error(override)
    if cast := _CAST.fullmatch(value):
        interval = shlex.quote(f"{key}=int(interval({cast[1].strip()},{cast[2].strip()}))")
        return UserError(
            f"these are the two values {cast[1]} and {cast[2]}",
            where=text,
            hint=f"they are listed as -m {key}={cast[1]},{cast[2].strip()}, and a search draws "
            f"from all between by -m search/sampler=tpe search.max_trials=20 {interval}",
        )
    if _ZEROS_FIRST.search(value) and (number := _read_number(value, annotation)):
        return UserError(
            "a comma separates values",
            where=text,
            hint=f"as one number it is typed {key}={number}",
            about=(override.key_or_group,),
        )
    return None


def _read_number(value: str, annotation: Any) -> str | None:
    """The one number that a value with commas stands for, as it is typed, if the key takes that and
    no text; None if it stands for none.
    """
    if is_valid_value(annotation, "text"):
        return None
    return next(
        (text for text, number in read_comma_numbers(value) if is_valid_value(annotation, number)),
        None,
    )


def _takes_list(override: str, annotation: Any) -> bool:
    """Whether a list that is typed so is one that the key takes."""
    try:
        value = OverridesParser.create().parse_override(override).value()
    except HydraException:
        return False
    return is_valid_value(annotation, value)
