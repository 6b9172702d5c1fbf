"""Checks the flags of a command line before Hydra sees them.

Hydra would answer a wrong flag with its usage, and would take `--experiment=imdb` for a flag of its
own that begins with the same letters.
"""

from argparse import Action
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser

from src.config.build_nodes import Schema
from src.config.foreign_keys import explain_foreign_key
from src.config.groups import ADDED_GROUPS, list_groups
from src.config.overrides import is_multirun, needs_multirun_error, search_overrides
from src.config.resume import RESUME_KEYS
from src.config.suggestions import find_key_in_options
from src.core.files import CONF
from src.core.user_errors import UserError, did_you_mean, suggest


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
            hint = _suggest_flag(flag, value, task, list(known))
            errors.append(UserError("there is no such flag", key=flag, hint=hint))
            continue
        value = value if equals else next(iter(arguments[position + 1 :]), "")
        if error := _check_flag_value(known[flag], value) or _check_primary_config(flag, value):
            errors.append(error.with_key(flag))
    names = {argument.partition("=")[0] for argument in arguments}
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
        return UserError("it would replace conf/", value=value, hint=_explain_config_flag(value))
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


def _explain_config_flag(value: str) -> str:
    """How configs of one's own are added, where a folder of them or one of its files was named."""
    path = Path(value)
    if path.suffix not in (".yaml", ".yml"):
        return f"a folder of your own configs is added by --config-dir={value}"
    return (
        f"a file of your own is an experiment: as FOLDER/experiment/{path.name} it is chosen by "
        f"--config-dir=FOLDER +experiment={path.stem}"
    )


def _suggest_flag(flag: str, value: str, task: Schema, flags: Sequence[str]) -> str:
    """The end of the message about an unknown flag."""
    name = flag.lstrip("-").replace("-", "_")
    if name in ("config", "config_dir", "config_file", "config_folder", "cfg_path", "conf"):
        return _explain_config_flag(value or "FOLDER")
    if answer := explain_foreign_key(name, value):
        return answer
    value = value or "VALUE"
    if name == "experiment":
        return did_you_mean(f"+experiment={value}")
    if name in (*task.parameters, *RESUME_KEYS, "sweep") or name.replace(".", "/") in list_groups():
        return did_you_mean(f"{name}={value}")
    if key := find_key_in_options(name):
        return did_you_mean(f"{key}={value}")
    near = suggest(flag, [known for known in flags if known.startswith("--")])
    if near is not None:
        return did_you_mean(near)
    return "values are written without dashes, as KEY=VALUE"
