"""Parses a command line with `resume=ID`, and changes the config of that earlier run by what else
was typed.

Nothing of conf/ is composed for it. The config is the one that the run has stored, in which every
interpolation is resolved.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from src.config.allowed_changes import (
    ABSENT,
    EarlierRun,
    check_changed_keys,
    is_redacted,
    may_change_in_fork,
)
from src.config.allowed_targets import update_moved_targets
from src.config.build_nodes import Schema
from src.config.groups import ADDED_GROUPS, list_groups, list_options, load_option
from src.config.hydra_composition import OverrideError, apply_overrides
from src.config.parse_failures import explain_parse_failure
from src.config.suggestions import unknown_key_error
from src.config.validate_config import validate_config
from src.core.files import PROJECT_ROOT
from src.core.formatting import to_override_text
from src.core.nested_config import iter_leaves, map_leaves
from src.core.user_errors import UserError, UserErrors, format_suggestion

RESUME_KEYS = ("resume", "fork")
# Keys of the node `tracking` that say which store is meant. The others say how a run is recorded.
_STORE_LOCATION_KEYS = ("root", "uri", "offline")


class ResumeRequest(NamedTuple):
    """A command line with `resume=`.

    Attributes:
        run_id: the id of the earlier run, or the beginning of it.
        fork: True if a new run begins from the earlier one.
        tracking: the node of the store that has the run.
        overrides: what shall differ from the config of the earlier run.
    """

    run_id: str
    fork: bool
    tracking: dict[str, Any]
    overrides: list[Override]

    def merge_stored_config(self, text: str, task: Schema) -> dict[str, Any]:
        """The config of the earlier run with the overrides applied, as plain values, checked.

        Args:
            text: the artifact config.yaml of the run.
            task: the schema of the task function.

        Raises:
            UserErrors: overrides name groups or absent keys, values do not fit, or the run does not
                hold a secret.
        """
        config = load_stored_config(text)
        recording = {
            key: value
            for key, value in config.get("tracking", {}).items()
            if key not in (*_STORE_LOCATION_KEYS, "_target_")
        }
        typed = {override.key_or_group.removeprefix("tracking.") for override in self.overrides}
        inherited = {
            key: value
            for key, value in recording.items()
            if key in self.tracking and key not in typed
        }
        config["tracking"] = {**self.tracking, **inherited}
        config, errors = _apply_resume_overrides(
            config, [override for override in self.overrides if not _is_tracking(override)]
        )
        errors += [
            f"{key}: the run does not hold this secret; give it again, as {key}=VALUE"
            for key, value in iter_leaves(config)
            if is_redacted(value) and not key.startswith("tracking.")
        ]
        try:
            validate_config(config, task)
        except UserErrors as invalid:
            errors += invalid.errors
        if errors:
            raise UserErrors(errors)
        return config


def parse_resume_request(arguments: Sequence[str], task: Schema) -> ResumeRequest:
    """Parse a command line with `resume=`. Raises UserErrors for all mistakes in it."""
    errors: list[UserError | str] = [
        _explain_flag(argument) for argument in arguments if argument.startswith("-")
    ]
    resume_values: dict[str, list[str]] = {name: [] for name in RESUME_KEYS}
    overrides: list[Override] = []
    for text in arguments:
        if text.startswith("-"):
            continue
        if name := _match_resume_key(text):
            resume_values[name].append(text.partition("=")[2].strip("'\""))
            continue
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            errors.append(explain_parse_failure(text))
            continue
        if override.is_sweep_override():
            errors.append(f"{text}: several values make several runs, and resume= goes on with one")
        else:
            overrides.append(override)
    errors += [
        f"{name}= is given twice: {', '.join(values)}"
        for name, values in resume_values.items()
        if len(values) > 1
    ]
    run_id, fork = (resume_values[name][-1] if resume_values[name] else "" for name in RESUME_KEYS)
    if not run_id:
        errors.append(
            "fork=true goes with resume=ID, the run that the new one begins from"
            if resume_values["fork"]
            else "resume= names no run: expected its id, or the first 6 or more digits of it"
        )
    if fork.lower() not in ("", "true", "false"):
        errors.append(f"fork={fork}: expected true or false")
    node, tracking_errors = _resolve_tracking_node(
        [override for override in overrides if _is_tracking(override)], task
    )
    if errors or tracking_errors:
        raise UserErrors([*errors, *tracking_errors])
    return ResumeRequest(run_id, fork.lower() == "true", node, overrides)


def dump_config(config: Mapping[str, Any]) -> str:
    """The text in which a run stores its config.

    The folder of this project is written `${project_root:}`, so that the config still holds after
    the project was moved.
    """
    import yaml

    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).replace(
        str(PROJECT_ROOT), "${project_root:}"
    )


def load_stored_config(text: str) -> dict[str, Any]:
    """Parse the config that a run has stored into plain values.

    Only `${project_root:}` is resolved in it. Raises UserError if the text is no config.
    """
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(
            f"the run's config.yaml cannot be read: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            "the run's config.yaml holds no config: expected keys and values, found "
            f"{type(content).__name__}"
        )
    config: dict[str, Any] = update_moved_targets(_expand_project_root(content))
    return config


def make_change_checker(
    config: Mapping[str, Any], *, fork: bool
) -> Callable[[EarlierRun, str], tuple[dict[str, str], list[str]]]:
    """Make a function that compares the stored config of a run with `config`.

    The function takes the run and the text of its artifact config.yaml. It returns the keys that
    differ, with their new values, and remarks for the user. It raises UserError if the run cannot
    go on with `config`, or if no fork of it can begin with `config`.
    """

    def check_changes(run: EarlierRun, text: str) -> tuple[dict[str, str], list[str]]:
        changes, remarks = check_changed_keys(load_stored_config(text), config, run=run, fork=fork)
        return {change.key: change.new for change in changes}, remarks

    return check_changes


def _match_resume_key(argument: str) -> str | None:
    """`resume` or `fork`, if the argument sets one of them; else None."""
    key, equals, _ = argument.lstrip("+").partition("=")
    return key if equals and key in RESUME_KEYS else None


def _explain_flag(flag: str) -> str:
    if flag in ("-m", "--multirun"):
        return f"{flag} makes several runs, and resume= goes on with one, as it began"
    return f"{flag} does not go with resume=, for which nothing is composed"


def _is_tracking(override: Override) -> bool:
    return override.key_or_group.partition(".")[0] == "tracking"


def _resolve_tracking_node(
    overrides: Sequence[Override], task: Schema
) -> tuple[dict[str, Any], list[UserError | str]]:
    """The node of the store in which the run is looked up, and the mistakes in it."""
    options = [override for override in overrides if override.key_or_group == "tracking"]
    name = str(options[-1].value()) if options else "local"
    if name not in list_options("tracking"):
        hint = format_suggestion(name, list_options("tracking"))
        return {}, [UserError("there is no such choice", key="tracking", value=name, hint=hint)]
    option = _expand_project_root({"tracking": load_option("tracking", name)})
    # what it takes from the environment
    config: Any = OmegaConf.to_container(OmegaConf.create(option), resolve=True)
    config, errors = _apply_resume_overrides(
        config, [override for override in overrides if override.key_or_group != "tracking"]
    )
    try:
        validate_config(config, Schema({"tracking": task.parameters["tracking"]}, open=False))
    except UserErrors as invalid:
        errors += invalid.errors
    return config["tracking"], errors


def _apply_resume_overrides(
    config: dict[str, Any], overrides: Sequence[Override]
) -> tuple[dict[str, Any], list[UserError | str]]:
    """A config with the overrides applied, and the errors of those that could not be."""
    errors: list[UserError | str] = []
    changed = OmegaConf.create(config)
    OmegaConf.set_struct(changed, True)
    for override in overrides:
        if override.key_or_group in list_groups() and not isinstance(override.value(), dict):
            errors.append(_explain_group_override(override, config))
        elif (
            not override.is_add()
            and not override.is_force_add()
            and (
                missing := unknown_key_error(
                    override.key_or_group,
                    OmegaConf.to_container(changed, resolve=False),
                    str(override.input_line),
                )
            )
        ):
            errors.append(missing)
        elif "${" in str(override.value()):
            errors.append(
                f"{override.input_line}: beside resume= a value is written out, not taken from "
                "another key"
            )
        else:
            try:
                apply_overrides(changed, [override])
            except OverrideError as refusal:
                errors.append(f"{override.input_line}: {str(refusal).splitlines()[0]}")
    plain: Any = OmegaConf.to_container(changed, resolve=False)
    return plain, errors


def _explain_group_override(override: Override, config: Mapping[str, Any]) -> str:
    """The message that a group does not go with `resume=`, with what to type instead of it."""
    group, name = override.key_or_group, str(override.value())
    reason = (
        f"{override.input_line}: beside resume= nothing is composed, the run has its own config"
    )
    if group in ADDED_GROUPS:
        return f"{reason}; leave it out, or leave resume= out to begin a new run with it"
    if name not in list_options(group):
        return f"{reason}; leave it out"
    path, present = group.replace("/", "."), dict(iter_leaves(config))
    option_values = {
        f"{path}.{key}": value
        for key, value in iter_leaves(_expand_project_root(load_option(group, name)))
    }
    changes = {
        key: value
        for key, value in option_values.items()
        if present.get(key, ABSENT) != value and "${" not in str(value)
    }
    if not all(map(may_change_in_fork, changes)):
        return f"{reason}; with {group}={name} it is another run, which begins without resume="
    if not changes:
        return f"{reason}, which has all of {group}={name} already; leave it out"
    keys = shlex.join(f"{key}={to_override_text(value)}" for key, value in changes.items())
    return f"{reason}; what shall differ is typed by its keys. {group}={name} would be {keys}"


def _expand_project_root(config: Any) -> Any:
    """Plain values in which `${project_root:}` is replaced by the folder of this project."""
    return map_leaves(
        lambda leaf: (
            leaf.replace("${project_root:}", str(PROJECT_ROOT)) if isinstance(leaf, str) else leaf
        ),
        config,
    )
