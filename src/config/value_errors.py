"""What is said of a value that a key does not take, and of a line of a file that YAML reads as
something else than was meant.
"""

import re
import shlex
from collections.abc import Collection
from typing import Any

from hydra.core.override_parser.types import Override

from src.config.foreign_keys import explain_pretrained
from src.config.groups import list_options
from src.core.formatting import to_override_text
from src.core.user_errors import UserError
from src.core.validation import is_valid_value, takes_whole_numbers

_COLON_INTERVAL_PATTERN = re.compile(r"(\d*\.?\d+(?:e-?\d+)?)(?::|\.\.|-)(\d*\.?\d+(?:e-?\d+)?)")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(\.\d{3})+")


def explain_dotted_key(name: str, value: Any, known: Collection[str]) -> str | None:
    """How a key is written in a file that has a dot in its name; None if it has none, or begins
    with no key that there is.
    """
    first, *inner = name.split(".")
    if not inner or first not in known:
        return None
    nested = f"{': {'.join([first, *inner])}: {to_override_text(value)}{'}' * len(inner)}"
    return f"a file writes a key inside another, and not with a dot: '{nested}'"


def find_thousands_error(override: Override, annotation: Any) -> UserError | None:
    """The error of a number with points between its thousands (`10.000`), where a whole one is
    expected; None of other values.
    """
    key, value = override.key_or_group, str(override.input_line).partition("=")[2]
    if not takes_whole_numbers(annotation) or not _THOUSANDS.fullmatch(value):
        return None
    meant = value.replace(".", "")
    first, _, rest = value.partition(".")
    other = f" (or {first}, whose fraction is zero)" if rest == "000" else ""
    return UserError(
        "a point begins a fraction, and parts no thousands",
        where=str(override.input_line),
        hint=f"did you mean {key}={meant}{other}?",
        about=(key,),
    )


def explain_value_of_group(key: str, value: Any) -> UserError:
    """The error of a value where the keys of a group stand."""
    group = key.replace(".", "/")
    named = str(value) if value in list_options(group) else "|".join(list_options(group))
    hint = None
    if inner := re.fullmatch(r"(\w+)\s*[:=]\s*(\S.*)", str(value)):
        # a line of a file that YAML takes for a text
        problem = f"a file writes a key below it with a colon and a blank: '{inner[1]}: {inner[2]}'"
    elif "/" in group:
        problem = f"a choice is written with slashes, as {group}={named}"
        if group == "model/encoder" and named != value and isinstance(value, str):
            hint = explain_pretrained(value)
    else:
        problem = f"a file chooses in its defaults, as '- override /{group}: {named}'"
    return UserError(problem, key=key, value=str(value), hint=hint)


def explain_value_error(error: UserError, key: str, value: Any) -> UserError:
    """The error of a value, with the way to search where several were meant: a list of them, or an
    interval (`1e-5:1e-3`, as other tools write it).
    """
    if key == "tags":
        error.hint = "one is typed as tags.NAME=VALUE"
    if key.endswith(".lr") and value in ("auto", "find"):
        error.hint = "the best rate is found by -m search=learning_rate, or python -m src.lr_range"
    if key == "data.train_rows" and (share := re.fullmatch(r"(\d+(?:\.\d+)?)%", str(value))):
        error.hint = f"a share of the rows is data.train_share={float(share[1]) / 100:g}"
    if key == "trainer.limit_batches" and isinstance(value, float):
        error.hint = "it counts batches, and is no share of them; null takes all"
    if key == "trainer.val_check_steps" and isinstance(value, float):
        error.hint = "it counts optimizer steps, and is no share of an epoch; null is once an epoch"
    if value in ("auto", "max") and key.startswith("data.batching."):
        error.hint = "what a number costs in memory and time, python -m src.plan tells"
    if key == "trainer.devices" and isinstance(value, list):
        error.hint = "it says how many; which ones is CUDA_VISIBLE_DEVICES=0,1 before the command"
        return error
    if isinstance(value, list) and len(value) > 1:
        if all(is_valid_value(error.annotation, one) for one in value):
            listed = ",".join(map(to_override_text, value))
            error.hint = (
                f"several runs are listed without brackets, as -m {shlex.quote(f'{key}={listed}')}"
            )
        return error
    ends = _COLON_INTERVAL_PATTERN.fullmatch(value) if isinstance(value, str) else None
    is_whole = takes_whole_numbers(error.annotation)
    if ends is None or not (is_whole or is_valid_value(error.annotation, float(ends[1]))):
        return error
    interval = f"interval({ends[1]},{ends[2]})"
    typed = f"'{key}={f'int({interval})' if is_whole else interval}'"
    hint = f"a search draws from it by -m search/sampler=tpe search.max_trials=20 {typed}"
    if key == "seed":
        hint = f"several seeds are listed as -m 'seed=range({ends[1]},{int(ends[2]) + 1})'"
    return UserError(
        key=key,
        expected=error.expected,
        found=repr(value),
        hint=hint,
        annotation=error.annotation,
    )
