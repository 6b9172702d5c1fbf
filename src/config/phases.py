"""The phases of a run: trainings one after another in one run, each with the config of the run but
for a few changes.

Here they are plain values: how a phase differs, what it may differ in, and what is wrong with it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from src.core.nested_config import get_by_path
from src.core.user_errors import UserError, format_suggestion

PHASES_KEY = "phases"
# of a phase, which chooses options of groups before its values count
GROUPS = "groups"
# which a phase may have of its own
CHANGEABLE_NODES = ("data", "model", "trainer", "callbacks")
# What all phases have in common, and why.
SHARED_KEYS = {
    "model.encoder": "one encoder goes through all phases",
    "data.tokenizer": "all phases have one vocabulary, which the first one learns or loads",
    "trainer.accelerator": "a run stays on its device",
    "trainer.devices": "a run stays on its device",
    "trainer.num_nodes": "a run stays on its device",
    "trainer.strategy": "a run stays on its device",
    "trainer.rank_timeout_seconds": "a run stays on its device",
    "trainer.precision": "a run has one precision",
    "trainer.threads": "a run has one number of threads",
    "trainer.deterministic": "all of a run is repeatable or none",
}
_RUN_KEYS = (
    "name",
    "seed",
    "tracking",
    "tags",
    "init_from",
    "preset",
    "register",
    "register_alias",
    "search",
    "experiment",
)
_NAME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ABSENT = object()

Changes = Mapping[str, Any]
FindErrors = Callable[[Mapping[str, Any]], list[UserError]]


def are_well_formed(phases: Any) -> bool:
    """True for a mapping from names to mappings, which is what phases are written as."""
    return isinstance(phases, Mapping) and all(
        isinstance(changes, Mapping) for changes in phases.values()
    )


def merge_changes(node: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """A copy of a node with changes, which are nested as it is. A node with a `_target_` among them
    takes the place of what is there; others are merged into it.
    """
    merged = dict(node)
    for key, change in changes.items():
        before = merged.get(key)
        is_merged = isinstance(change, Mapping) and "_target_" not in change
        merged[key] = (
            merge_changes(before, change) if is_merged and isinstance(before, Mapping) else change
        )
    return merged


def find_changes(base: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that make `config` of `base`: `merge_changes(base, changes)` equals it."""
    changes = _diff_nodes(base, config)
    assert changes is not None, "the top level of a config has the same keys in all phases"
    return changes


def _diff_nodes(base: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any] | None:
    """The changes from `base` to `node`; None where none can say it, since keys are gone."""
    if base.get("_target_") != node.get("_target_") or set(base) - set(node):
        return None
    changes: dict[str, Any] = {}
    for key, value in node.items():
        before = base.get(key, _ABSENT)
        if before == value:
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if key == "callbacks":
                # null leaves one out
                value = {**dict.fromkeys(before), **value}
            inner = _diff_nodes(before, value)
            if inner is not None:
                changes[key] = inner
                continue
            if "_target_" not in value:
                return None
        changes[key] = value
    return changes


def expand_phases(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The whole config of each phase by its name, in their order."""
    base = {key: value for key, value in config.items() if key != PHASES_KEY}
    return {name: merge_changes(base, changes) for name, changes in config[PHASES_KEY].items()}


def put_last_phase_on_top(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same phases, written as changes of the last one, whose config is that of the run: its
    model is what the run leaves. A config without phases stays as it is.
    """
    if not config.get(PHASES_KEY):
        return {key: value for key, value in config.items() if key != PHASES_KEY}
    phases = expand_phases(config)
    top = list(phases.values())[-1]
    return {**top, PHASES_KEY: {name: find_changes(top, phase) for name, phase in phases.items()}}


def find_phase_errors(config: Mapping[str, Any], find_errors: FindErrors) -> list[UserError]:
    """All that is wrong with the phases of a config, and with the config of each.

    Args:
        find_errors: finds what is wrong with a config without phases.
    """
    phases = config[PHASES_KEY]
    if not are_well_formed(phases):
        hint = "a phase is written by its name, as phases.short.trainer.max_steps=1000"
        return [UserError(key=PHASES_KEY, expected="the changes of each phase", hint=hint)]
    errors = list(find_form_errors(phases))
    if errors:
        return errors
    configs = expand_phases(config)
    errors += _find_shared_errors(phases, configs)
    found = {name: find_errors(phase) for name, phase in configs.items()}
    texts = [{str(error) for error in of_phase} for of_phase in found.values()]
    of_all = set.intersection(*texts)
    for name, of_phase in found.items():
        errors += [
            error if str(error) in of_all else _place_in_phase(error, name, phases[name])
            for error in of_phase
        ]
    return errors


def find_form_errors(phases: Mapping[str, Changes]) -> Iterator[UserError]:
    """The errors of names, of nodes that belong to the run, and of groups."""
    if len(phases) < 2:
        yield UserError(
            key=PHASES_KEY,
            expected="two or more",
            found=", ".join(map(str, phases)) or "none",
            hint="a run of one phase is written without them",
        )
    for name, changes in phases.items():
        key = f"{PHASES_KEY}.{name}"
        if not _NAME_PATTERN.fullmatch(str(name)):
            yield UserError(
                key=key, expected="a name of letters, digits and _ that begins with a letter"
            )
        for node, value in changes.items():
            if node == GROUPS:
                yield from _find_choice_errors(f"{key}.{GROUPS}", value)
            elif node not in CHANGEABLE_NODES:
                yield _explain_node(key, node)
            elif not isinstance(value, Mapping):
                yield UserError(
                    "an option is chosen among the groups of a phase",
                    key=f"{key}.{node}",
                    value=value,
                    hint=f"{key}.{GROUPS}.{node}={value}",
                )


def _explain_node(key: str, node: str) -> UserError:
    """The error of a key that no phase has."""
    if node in _RUN_KEYS:
        problem = "belongs to the whole run, not to a phase"
        return UserError(problem, key=f"{key}.{node}", hint=f"write it outside of {PHASES_KEY}")
    if "/" in node:
        hint = f"{key}.{GROUPS} has the options of groups, as {{{node}: OPTION}}"
    elif "." in node:
        hint = "keys are nested, as in an experiment"
    else:
        hint = format_suggestion(node, [*CHANGEABLE_NODES, GROUPS])
    return UserError("there is no such key", key=f"{key}.{node}", hint=hint)


def _find_choice_errors(key: str, groups: Any) -> Iterator[UserError]:
    """The errors that were put in the place of groups that could not be chosen."""
    if not isinstance(groups, Mapping):
        yield UserError(key=key, expected="options by their groups", found=repr(groups))
        return
    for group, value in groups.items():
        if isinstance(value, UserError):
            yield value.with_key(f"{key}.{group}")


def _find_shared_errors(
    phases: Mapping[str, Changes], configs: Mapping[str, Mapping[str, Any]]
) -> Iterator[UserError]:
    """The errors of what phases have of their own, though the run has one of it."""
    last = list(configs)[-1]
    for key, reason in SHARED_KEYS.items():
        differing = [
            name
            for name, phase in configs.items()
            if get_by_path(phase, key) != get_by_path(configs[last], key)
        ]
        if differing:
            # the earlier phases are written as changes of the last one
            name = last if get_by_path(phases[last], key) is not None else differing[0]
            yield UserError(
                f"{reason}; what is typed outside of {PHASES_KEY} ({key}) holds in all",
                key=f"{PHASES_KEY}.{name}.{key}",
                about=(key,),
            )


def _place_in_phase(error: UserError, name: str, written: Changes) -> UserError:
    """The error, about the key of the phase where the phase has changed that."""
    key = error.key
    if key is not None and get_by_path(written, key) is not None:
        return error.with_renamed_keys({key: f"{PHASES_KEY}.{name}.{key}"})
    return UserError(str(error), where=f"phase {name}", about=error.keys)
