"""Rewords the exceptions of Hydra, OmegaConf and PyYAML so that they say which file or key to
change.
"""

import re

from hydra.errors import MissingConfigException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from src.core.files import CONF
from src.core.user_errors import UserError, format_suggestion

# What other plug-ins of Hydra are for, and what is typed for it here.
_PLUGIN_HINTS = {
    "hydra/sweeper": "a search draws its values by -m search/sampler=tpe search.max_trials=20",
    "hydra/launcher=ray": "trials run on Ray by -m search.launcher=ray",
    "hydra/launcher": "trials run side by side by -m search.jobs=2",
}


def explain_library_error(error: Exception) -> UserError:
    """The error that the user gets for an exception of Hydra, OmegaConf or PyYAML."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, MissingConfigException) and cause.options is not None:
        group, _, choice = str(cause.missing_cfg_file).rpartition("/")
        return UserError(
            "there is no such choice",
            key=group,
            value=choice,
            hint=_PLUGIN_HINTS.get(f"{group}={choice}")
            or _PLUGIN_HINTS.get(group)
            or format_suggestion(choice, cause.options),
        )
    if isinstance(cause, MarkedYAMLError) and cause.problem_mark is not None:
        mark = cause.problem_mark
        return UserError(
            f"not valid YAML ({cause.problem})",
            where=f"{_relative_to_project(mark.name)}, line {mark.line + 1}",
        )
    if isinstance(cause, UnicodeDecodeError):
        files = sorted(CONF.rglob("*.yaml"))
        file = next((file for file in files if cause.object == file.read_bytes()), CONF)
        return UserError(
            f"not UTF-8 (byte {cause.object[cause.start]:#04x} at position {cause.start})",
            where=_relative_to_project(str(file)),
        )
    if isinstance(cause, RecursionError):
        return UserError(
            "a choice is built on itself, through the defaults of its file",
            where=_relative_to_project(str(CONF)),
        )
    if twice := re.fullmatch(
        r"Multiple values for (.*)\. To override a value use 'override (.*)'", str(cause)
    ):
        return UserError(
            f"{twice[1]} is chosen twice",
            hint=f"an experiment's defaults write '- override /{twice[2]}'",
        )
    text = (
        re.sub(r"\n\s*(full_key|object_type|reference_type)=?:?.*", "", str(cause)).strip()
        or type(cause).__name__
    )
    text = text.partition("\n\nConfig search path")[0]
    key = getattr(cause, "full_key", None)
    for group, hint in _PLUGIN_HINTS.items():
        if str(key).startswith(f"{group.replace('/', '.')}."):
            return UserError("there is no such key", key=str(key), hint=hint)
    if key and not text.startswith(str(key)):
        return UserError(text, key=str(key))
    return UserError(text, about=[str(key)] if key else [])


def _relative_to_project(path: str) -> str:
    """The name of a config file as users know it: relative to the project."""
    return path.replace(f"{CONF.parent}/", "")
