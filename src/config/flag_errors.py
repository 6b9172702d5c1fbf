"""Checks the flags of a command line before Hydra sees them.

Hydra would answer a wrong flag with its usage, and would take `--experiment=imdb` for a flag of its
own that begins with the same letters.
"""

import functools
import re
from argparse import Action
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from src.config.build_nodes import Schema
from src.config.foreign_keys import explain_foreign_key, find_same_key
from src.config.groups import ADDED_GROUPS, list_groups, list_options, say_who_has
from src.config.hydra_composition import COMPOSE_ERRORS, compose_with_search
from src.config.overrides import is_multirun, needs_multirun_error, search_overrides
from src.config.parse_failures import explain_config_path
from src.config.resume import RESUME_KEYS
from src.config.suggestions import find_key_in_options, unknown_key_error
from src.core.files import CONF
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError, did_you_mean, suggest

# Flags that nobody means who types another one.
_UNLIKELY_FLAGS = ("--experimental-rerun", "--package", "--run", "--config-path", "--config-name")
# keys whose default does not say that they are true or false
_SWITCHES = ("trainer.compile",)
_SHOWING_FLAGS = {"--cfg", "-c", "--info", "-i"}
_HELP = "experiments and options are listed by --help"
_FLAG_ANSWERS = {
    **dict.fromkeys(("list_experiments", "list", "experiments", "options", "usage"), _HELP),
    "v": "the version is printed by --version; less is printed with callbacks.progress=null",
    "fast": did_you_mean("preset=fast"),
    "early_stopping": "it is callbacks=early_stopping",
    "name": "a run is called so by name=NAME",
}
_QUESTION = re.compile(r"did you mean '([^']*)'\?")


def find_flag_errors(arguments: Sequence[str], task: Schema) -> list[UserError]:
    """The mistakes in the flags of a command line.

    Args:
        arguments: what was typed after the program's name.
        task: the schema of the composed config, whose keys are no flags.
    """
    known = get_args_parser()._option_string_actions
    errors = []
    for position, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if not flag.startswith("-"):
            continue
        if flag not in known:
            following = next(iter(arguments[position + 1 :]), "-")
            if not equals and not following.startswith("-") and "=" not in following:
                value = following
            hint = _suggest_flag(flag, value, arguments, task, list(known))
            errors.append(UserError("there is no such flag", key=flag, hint=hint))
            continue
        value = value if equals else next(iter(arguments[position + 1 :]), "")
        if error := _check_flag_value(known[flag], value) or _check_primary_config(flag, value):
            errors.append(error.with_key(flag))
    names = {argument.partition("=")[0] for argument in arguments}
    if "--experimental-rerun" in names:
        errors.append(
            UserError(
                "the files that it reads are not written here",
                key="--experimental-rerun",
                hint="a run is repeated by python -m src.rerun ID",
            )
        )
    if names & _SHOWING_FLAGS and names & {"-m", "--multirun"}:
        errors.append(
            UserError(
                "it shows the config of one run",
                key=min(names & _SHOWING_FLAGS),
                hint="without -m, each key has one value; what a search would need is told by "
                "python -m src.plan -m ...",
            )
        )
    if not is_multirun(arguments) and not names & {"--cfg", "-c"}:
        errors += map(needs_multirun_error, search_overrides(arguments))
    return errors


def _check_flag_value(action: Action, value: str) -> UserError | None:
    """The error of a flag's value; None if the value is fine."""
    allowed = f"one of {', '.join(action.choices)}" if action.choices else "a value"
    if action.nargs == 0 or (action.nargs == "?" and not value):
        return None
    if not value or value.startswith("-"):
        return UserError(expected=f"{allowed} behind it")
    if action.choices and value not in action.choices:
        return UserError(expected=allowed, found=f"'{value}'")
    return None


def _check_primary_config(flag: str, value: str) -> UserError | None:
    """The error of a flag that names another folder or file than conf/config.yaml; None if it is
    there.
    """
    if flag in ("--config-path", "-cp") and not (Path(value) / "config.yaml").is_file():
        return UserError("it would replace conf/", value=value, hint=explain_config_path(value))
    if flag in ("--config-name", "-cn"):
        file = Path(value).with_suffix(".yaml")
        is_there = (CONF / file).is_file()
        if is_there and file.parent == Path():
            return None
        problem = "it is no config of its own" if is_there else "there is no such file in conf/"
        return UserError(problem, value=value, hint=_explain_config_name(file))
    return None


def _explain_config_name(file: Path) -> str:
    """How an option is chosen whose file was named instead of conf/config.yaml."""
    group, name = file.parent.as_posix(), file.stem
    if group not in list_groups() or group == "experiment":
        return f"an experiment is chosen by +experiment={name}"
    return f"it is chosen by {'+' * (group in ADDED_GROUPS)}{group}={name}"


def _suggest_flag(
    flag: str, value: str, arguments: Sequence[str], task: Schema, flags: Sequence[str]
) -> str:
    """The end of the message about an unknown flag."""
    name = flag.lstrip("-").replace("-", "_")
    if name in ("config", "config_dir", "config_file", "config_folder", "cfg_path", "conf"):
        return explain_config_path(value or "FOLDER")
    if answer := _FLAG_ANSWERS.get(name.lower()):
        return answer
    # one that takes the same value may want an option that has it
    if find_same_key(name) is None and (answer := explain_foreign_key(name, value)):
        return answer
    if name == "experiment":
        return did_you_mean(f"+experiment={value or 'NAME'}")
    if name in (*RESUME_KEYS, "sweep"):
        return did_you_mean(f"{name}={value or ('true' if name == 'fork' else 'ID')}")
    if (group := name.replace(".", "/")) in list_groups():
        return did_you_mean(f"{group}={value or '|'.join(list_options(group))}")
    near = suggest(flag, [known for known in flags if known not in _UNLIKELY_FLAGS], cutoff=0.8)
    if near is not None and near.startswith("--"):
        return did_you_mean(near)
    return (
        _suggest_key(name, value, arguments, task) or "values are written without dashes, KEY=VALUE"
    )


@functools.cache
def _compose(experiment: str) -> dict[str, Any] | None:
    """The config of an experiment's override, or of none; None if it cannot be composed."""
    try:
        config = compose_with_search([experiment] if experiment else [])
    except COMPOSE_ERRORS:
        return None
    return OmegaConf.to_container(config, resolve=False)  # type: ignore[return-value]


def _suggest_key(name: str, value: str, arguments: Sequence[str], task: Schema) -> str | None:
    """The question about a flag that is a key, or is like one; None if none is like it."""
    chosen = [argument for argument in arguments if argument.startswith("+experiment=")]
    config = _compose(chosen[0] if chosen else "")
    if config is None:
        # told when the rest is mended
        return None
    unknown = unknown_key_error(name, config)
    hint = did_you_mean(name) if unknown is None else unknown.hint or ""
    if unknown is not None and name in task.parameters:
        hint = did_you_mean(name)
    meant = _QUESTION.match(hint)
    if meant is None:
        if key := find_key_in_options(name):
            typed = f"{key}={value or 'VALUE'}"
            return f"{did_you_mean(typed)} ({say_who_has(key)})"
        return hint if "valid: " not in hint else None
    key = meant[1]
    if unknown is not None and "." not in key and "." in name:
        # the nearest name below the same node
        key = f"{name.rpartition('.')[0]}.{key}"
    if not value:
        is_switch = key in _SWITCHES or isinstance(get_by_path(config, key), bool)
        value = "true" if is_switch else "VALUE"
    return f"{did_you_mean(f'{key}={value}')}{hint[meant.end() :]}"
