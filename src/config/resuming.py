"""Going on with an earlier run: what was typed beside `resume=ID`, and the config that it makes of that run's own.

Nothing of conf/ is composed for it: the run's stored config, in which every interpolation is resolved, is the config.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from src.config.changes import ABSENT, judge, leaves, starred, takeable
from src.config.check import check
from src.config.choices import choices, content, groups
from src.config.compose import Unfit, lay_on
from src.config.nearest import absent
from src.config.signature import Signature
from src.config.sweeps import unreadable
from src.terms.fault import Fault, Faults, suggestion
from src.tracking.params import typed

ROOT = Path(__file__).resolve().parents[2]
OWN = ("resume", "fork")
_WHERE = ("root", "uri", "offline")  # of the tracking node: which store; the rest is how a run is recorded in it


class Asked(NamedTuple):
    """A command line with `resume=`: the run, the node of the store that has it, and what shall differ."""

    run_id: str
    fork: bool
    tracking: dict[str, Any]
    overrides: list[Override]

    def config(self, text: str, task: Signature) -> dict[str, Any]:
        """The earlier run's config with the overrides laid on, as plain values, checked.

        Args:
            text: the run's artifact config.yaml.
            task: the signature of the task function.

        Raises:
            Faults: overrides of groups or of keys that are not there, values that do not fit, secrets that the run
                does not hold.
        """
        config = stored(text)
        how = {key: value for key, value in config.get("tracking", {}).items() if key not in (*_WHERE, "_target_")}
        typed_here = {each.key_or_group.removeprefix("tracking.") for each in self.overrides}
        known = {key: value for key, value in how.items() if key in self.tracking and key not in typed_here}
        config["tracking"] = {**self.tracking, **known}
        config, faults = _laid_on(config, [each for each in self.overrides if not _is_tracking(each)])
        faults += [
            f"{key}: the run does not hold this secret; give it again, as {key}=VALUE"
            for key, value in leaves("", config)
            if starred(value) and not key.startswith("tracking.")
        ]
        try:
            check(config, task)
        except Faults as found:
            faults += found.faults
        if faults:
            raise Faults(faults)
        return config


def read(arguments: Sequence[str], task: Signature) -> Asked:
    """What a command line with `resume=` asks for; raises Faults where it cannot be meant so."""
    faults = [_flag(each) for each in arguments if each.startswith("-")]
    given: dict[str, list[str]] = {name: [] for name in OWN}
    overrides: list[Override] = []
    for text in arguments:
        if text.startswith("-"):
            continue
        if name := _own(text):
            given[name].append(text.partition("=")[2].strip("'\""))
            continue
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            faults.append(unreadable(text))
            continue
        if override.is_sweep_override():
            faults.append(f"{text}: several values make several runs, and resume= goes on with one")
        else:
            overrides.append(override)
    faults += [f"{name}= is given twice: {', '.join(values)}" for name, values in given.items() if len(values) > 1]
    run_id, fork = (given[name][-1] if given[name] else "" for name in OWN)
    if not run_id:
        faults.append(
            "fork=true goes with resume=ID, the run that the new one begins from"
            if given["fork"]
            else "resume= names no run: expected its id, or the first 6 or more digits of it"
        )
    if fork.lower() not in ("", "true", "false"):
        faults.append(f"fork={fork}: expected true or false")
    node, more = _place([each for each in overrides if _is_tracking(each)], task)
    if faults or more:
        raise Faults([*faults, *more])
    return Asked(run_id, fork.lower() == "true", node, overrides)


def written(config: Mapping[str, Any]) -> str:
    """A composed config as a run holds it; this project's folder stays a reference, so it composes after a move."""
    import yaml

    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).replace(str(ROOT), "${project_root:}")


def stored(text: str) -> dict[str, Any]:
    """The config that a run holds, as plain values; nothing in it is resolved but the folder of this project."""
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Fault(f"the run's config.yaml cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise Fault(f"the run's config.yaml holds no config: expected keys and values, found {type(found).__name__}")
    config: dict[str, Any] = _here(found)
    return config


def judging(config: Mapping[str, Any], *, fork: bool) -> Callable[[str, str], tuple[dict[str, str], list[str]]]:
    """Given a run's id and its artifact config.yaml: the keys in which `config` differs, and what must be said of it.

    The function raises Fault where the run cannot go on with `config`, or no fork of it can begin.
    """

    def judged(run_id: str, text: str) -> tuple[dict[str, str], list[str]]:
        changes, remarks = judge(stored(text), config, run_id=run_id, fork=fork)
        return {each.key: each.new for each in changes}, remarks

    return judged


def _own(argument: str) -> str | None:
    """`resume` or `fork`, where an argument gives one of them."""
    key, equals, _ = argument.lstrip("+").partition("=")
    return key if equals and key in OWN else None


def _flag(flag: str) -> str:
    if flag in ("-m", "--multirun"):
        return f"{flag} makes several runs, and resume= goes on with one, as it began"
    return f"{flag} does not go with resume=, for which nothing is composed"


def _is_tracking(override: Override) -> bool:
    return override.key_or_group.partition(".")[0] == "tracking"


def _place(overrides: Sequence[Override], task: Signature) -> tuple[dict[str, Any], list[str]]:
    """The node of the store in which the run is looked up, and what is wrong with it."""
    chosen = [each for each in overrides if each.key_or_group == "tracking"]
    name = str(chosen[-1].value()) if chosen else "local"
    if name not in choices("tracking"):
        return {}, [f"tracking={name}: there is no such choice; {suggestion(name, choices('tracking'))}"]
    config = _here({"tracking": content("tracking", name)})
    config, faults = _laid_on(config, [each for each in overrides if each.key_or_group != "tracking"])
    try:
        check(config, Signature({"tracking": task.parameters["tracking"]}, open=False))
    except Faults as found:
        faults += found.faults
    return config["tracking"], faults


def _laid_on(config: dict[str, Any], overrides: Sequence[Override]) -> tuple[dict[str, Any], list[str]]:
    """A config with values changed, and what is wrong with those that are left out."""
    faults: list[str] = []
    made = OmegaConf.create(config)
    OmegaConf.set_struct(made, True)
    for each in overrides:
        if each.key_or_group in groups() and not isinstance(each.value(), dict):
            faults.append(_choice(each, config))
        elif not each.is_add() and not each.is_force_add() and (missing := absent(each.key_or_group, config)):
            faults.append(missing)
        elif "${" in str(each.value()):
            faults.append(f"{each.input_line}: beside resume= a value is written out, not taken from another key")
        else:
            try:
                lay_on(made, [each])
            except Unfit as refusal:
                faults.append(f"{each.input_line}: {str(refusal).splitlines()[0]}")
    plain: Any = OmegaConf.to_container(made, resolve=False)
    return plain, faults


def _choice(override: Override, config: Mapping[str, Any]) -> str:
    """Why a group does not go with `resume=`, and what to type instead of it."""
    group, name = override.key_or_group, str(override.value())
    reason = f"{override.input_line}: beside resume= nothing is composed, the run has its own config"
    if group == "experiment":
        return f"{reason}; leave it out, or leave resume= out to begin a new run with it"
    if name not in choices(group):
        return f"{reason}; leave it out"
    path, now = group.replace("/", "."), dict(leaves("", config))
    wanted = {f"{path}.{key}": value for key, value in leaves("", _here(content(group, name)))}
    other = {key: value for key, value in wanted.items() if now.get(key, ABSENT) != value and "${" not in str(value)}
    if not all(map(takeable, other)):
        return f"{reason}; with {group}={name} it is another run, which begins without resume="
    if not other:
        return f"{reason}, which has all of {group}={name} already; leave it out"
    keys = shlex.join(f"{key}={typed(value)}" for key, value in other.items())
    return f"{reason}; what shall differ is typed by its keys. {group}={name} would be {keys}"


def _here(value: Any) -> Any:
    """Plain values with this project's folder where the stored config refers to it."""
    if isinstance(value, Mapping):
        return {key: _here(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_here(each) for each in value]
    return value.replace("${project_root:}", str(ROOT)) if isinstance(value, str) else value
