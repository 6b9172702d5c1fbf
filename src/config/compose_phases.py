"""Composes the config of each phase of a run, from the composed config of the run and the options
and values that the phase changes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from src.config.allowed_targets import import_target
from src.config.build_nodes import read_target_schema
from src.config.config_folders import searchpath_overrides
from src.config.groups import ADDED_GROUPS, list_groups, list_options
from src.config.hydra_composition import apply_overrides, compose_with_search
from src.config.overrides import selected_options
from src.config.phases import (
    CHANGEABLE_NODES,
    GROUPS,
    PHASES_KEY,
    are_well_formed,
    find_changes,
    find_form_errors,
    merge_changes,
)
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError, UserErrors, format_suggestion, suggest

Resolve = Callable[[DictConfig, Sequence[str]], dict[str, Any]]


def compose_phases(config: DictConfig, typed: Sequence[str], resolve: Resolve) -> dict[str, Any]:
    """The config of a run with phases as plain values: the top level is the config of the last one,
    and `phases` has what the others differ in from it, and what the last one has changed.

    A phase that chooses options of groups is composed anew, with them and with all that was typed.
    What is wrong with phases is left in them, for `validate_config` to report.

    Args:
        config: composed, with the node `phases`.
        typed: the overrides that made the config.
        resolve: makes plain values of a config without phases, given what was typed for it.
    """
    base = config.copy()
    with open_dict(base):
        phases: Any = base.pop(PHASES_KEY)
    if OmegaConf.is_config(phases):
        phases = OmegaConf.to_container(phases, resolve=False)
    prefix = f"{PHASES_KEY}."
    phase_typed = [text.lstrip("+") for text in typed if text.lstrip("+").startswith(prefix)]
    # a program writes ++ before what was typed without a +
    plain = [text.removeprefix("++") for text in typed]
    typed_names = {text.split(".")[1] for text in plain if text.startswith(prefix)}
    of_phases = (prefix, f"{PHASES_KEY}=")
    typed = [text for text in typed if not text.lstrip("+~").startswith(of_phases)]
    plain_base = resolve(base, typed)
    if not are_well_formed(phases):
        return {**plain_base, PHASES_KEY: phases}
    _check_typed_names(list(map(str, phases)), typed_names, typed)
    phases = {str(name): _check_choices(changes) for name, changes in phases.items()}
    if list(find_form_errors(phases)):
        return {**plain_base, PHASES_KEY: phases}
    configs = {}
    for name, changes in phases.items():
        values = {key: value for key, value in changes.items() if key != GROUPS}
        phase = _choose_options(base, changes.get(GROUPS) or {}, typed)
        content: Any = OmegaConf.to_container(phase, resolve=False)
        # over which a preset has no say
        start = f"{prefix}{name}."
        own = [text.removeprefix(start) for text in phase_typed if text.startswith(start)]
        configs[name] = resolve(OmegaConf.create(merge_changes(content, values)), [*typed, *own])
    last, top = list(configs.items())[-1]
    written = {name: find_changes(top, phase) for name, phase in configs.items()}
    return {**top, PHASES_KEY: {**written, last: find_changes(plain_base, top)}}


def _check_typed_names(names: Sequence[str], typed_names: set[str], typed: Sequence[str]) -> None:
    """Raise UserErrors for a phase that was typed and is not there, but one with nearly its name:
    it would be a further phase behind the others.

    Args:
        names: of all phases.
        typed_names: of those that were typed without a +.
        typed: all overrides but those of phases.
    """
    if not any(suggest(name, set(names) - {name}) for name in typed_names):
        return
    there = compose_with_search([*_choose_files(typed), *searchpath_overrides()]).get(PHASES_KEY)
    known = set(map(str, there or ()))
    errors = [
        UserError(
            f"there is no phase {name}",
            key=f"{PHASES_KEY}.{name}",
            hint=f"did you mean {near}? A further one is added by +{PHASES_KEY}.{name}",
        )
        for name in sorted(typed_names - known)
        if (near := suggest(name, known)) is not None
    ]
    if errors:
        raise UserErrors(errors)


def _choose_files(typed: Sequence[str]) -> list[str]:
    """The overrides that choose an experiment, in which phases may be."""
    return [text for text in typed if text.lstrip("+").startswith("experiment=")]


def _check_choices(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of a phase, with an error in the place of each option that cannot be chosen."""
    groups = changes.get(GROUPS)
    if not isinstance(groups, Mapping):
        return dict(changes)
    checked: dict[str, Any] = {}
    for group, option in groups.items():
        own = [name for name in list_groups() if name.partition("/")[0] in CHANGEABLE_NODES]
        if group in own and option in list_options(group):
            checked[group] = option
        elif group in own:
            hint = format_suggestion(option, list_options(group))
            checked[group] = UserError("there is no such choice", hint=hint)
        elif group in list_groups():
            checked[group] = UserError(
                "is chosen for the whole run, outside of phases", colon=False
            )
        else:
            checked[group] = UserError("there is no such group", hint=format_suggestion(group, own))
    return {**changes, GROUPS: checked}


def _choose_options(
    base: DictConfig, choices: Mapping[str, str], typed: Sequence[str]
) -> DictConfig:
    """The config that is composed with other options of groups and the same values typed."""
    if not choices:
        return base
    chosen: dict[str, str] = {}
    values = []
    for text in typed:
        override = OverridesParser.create().parse_override(text)
        key = override.key_or_group
        if key in list_groups() and not isinstance(override.value(), dict):
            # of several, which a search tries, the first
            option = selected_options(override, list_options(key))[0]
            chosen[key] = f"{'+' * (key in ADDED_GROUPS)}{key}={option}"
        elif not override.is_hydra_override():
            values.append(override)
    chosen |= {group: f"{group}={option}" for group, option in choices.items()}
    composed = compose_with_search([*chosen.values(), *searchpath_overrides()])
    with open_dict(composed):
        composed.pop(PHASES_KEY, None)
    for group in choices:
        path = group.replace("/", ".")
        node = OmegaConf.select(composed, path)
        if isinstance(node, DictConfig):
            OmegaConf.update(composed, path, _drop_foreign_keys(node), merge=False)
    present = OmegaConf.to_container(base, resolve=False)
    for override in values:
        key = override.key_or_group
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(composed, parent) if parent else composed
        # `in` denies keys whose value is missing
        has_key = isinstance(node, DictConfig) and name in list(node.keys())
        if override.is_delete() and has_key:
            apply_overrides(composed, [override])
        elif has_key or override.is_add() or override.is_force_add():
            # of several values, the one that is tried
            OmegaConf.update(composed, key, get_by_path(present, key), force_add=True)
    return composed


def _drop_foreign_keys(node: DictConfig) -> dict[str, Any]:
    """A node without keys that its classes do not know: an experiment has set them for the option
    that it has chosen itself.
    """
    content: Any = OmegaConf.to_container(node, resolve=False)

    def drop(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        kept = value
        if isinstance(target := value.get("_target_"), str):
            try:
                schema = read_target_schema(import_target(target))
            except UserError:
                return value
            known = {"_target_", *schema.parameters}
            kept = {key: inner for key, inner in value.items() if key in known or schema.open}
        return {key: drop(inner) for key, inner in kept.items()}

    return drop(content)
