"""Why Hydra refused a command line, in a person's words, and everything else that is wrong with it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from src.config import sweeps
from src.config.check import check
from src.config.choices import CONF
from src.config.compose import REFUSALS, Unfit, added, lay_on, plain
from src.config.nearest import absent
from src.config.signature import Signature
from src.config.sorting import Sorted
from src.config.targets import refuse_hydra
from src.terms.fault import Fault, Faults, suggestion

_LOOKING = ("--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")  # flags with which no run is made
_WITH_VALUE = {"--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"}


def explain(arguments: Sequence[str], refusal: Exception, task: Signature) -> Faults:
    """All faults of a command line that Hydra could not compose.

    Args:
        arguments: what was typed after the program's name.
        refusal: what Hydra raised; given as it is where nothing better is found.
        task: the signature of the task function.
    """
    try:
        found = mistakes(arguments, task, refusal.config if isinstance(refusal, Unfit) else None)
    except Exception:  # whatever happens in here must not take the place of what Hydra said
        found = []
    return Faults(found or [_message(refusal)])


def mistakes(arguments: Sequence[str], task: Signature, composed: DictConfig | None = None) -> list[str]:
    """What is wrong with a command line; in a multirun with any of its values, and with the search that it is.

    `composed` is what its groups make, where that is known already.
    """
    many = sweeps.several(arguments)
    found = Sorted()
    for typed in _overrides(arguments):
        if many and sweeps.names_sweep(typed):
            continue
        if not many and sweeps.of_search([typed]):
            found.faults.append(sweeps.alone(typed))
        elif typed.startswith("="):
            found.faults.append(f"'{typed}' has no key: expected KEY=VALUE, without spaces around the equals sign")
        else:
            found.read(typed, added([typed], task)[0], many=many)
    experiments = [each for each in found.sound if each.startswith("+experiment=")]
    if len(experiments) > 1:
        found.faults.append(
            f"{' and '.join(experiments)}: a run takes one experiment; with -m several make several runs"
        )
        return found.faults
    if "experiment" in found.unknown:  # everything else depends on it
        return found.faults
    base = _compose(found.sound) if composed is None else composed
    if isinstance(base, DictConfig) and many and (more := _of_file(base, found.readable)):
        for override in more:
            found.sort(override)
        base = _compose(found.sound)
    if isinstance(base, Exception):
        return [*found.faults, _message(base)]
    later, config = _values(found.values, base, many=many)
    with open_dict(config):
        own = config.pop("hydra", DictConfig({}))
    try:
        refuse_hydra(OmegaConf.to_container(own), [str(each.input_line) for each in found.values])  # type: ignore[arg-type]
    except Fault as fault:
        later.append(str(fault))
    trials = [plain(config)]
    if many:
        others, more_faults = _others(config, found)
        trials += others
        later += more_faults
    for each in trials:
        try:
            check(each, task)
        except Faults as faults:
            later += faults.faults
    if many:
        later = _of_search(arguments, config, found, trials, later)
    later = [each for each in later if not any(_concerns(each, group) for group in found.unknown)]
    return list(dict.fromkeys([*map(str, found.faults), *later]))  # the values of a sweep may share a mistake


def _others(config: DictConfig, found: Sorted) -> tuple[list[dict[str, Any]], list[str]]:
    """The config with each other value of each key that has several, and what Hydra refuses of these."""
    trials = [plain(each) for each in sweeps.variants(found.values, config)]
    faults: list[str] = []
    for chosen in sweeps.other_choices(found.readable, found.sound):
        base = _compose(chosen)
        if isinstance(base, Exception):
            faults.append(_message(base))
            continue
        refused, other = _values(found.values, base, many=True)
        faults += refused
        with open_dict(other):
            other.pop("hydra", None)
        trials.append(plain(other))
    return trials, faults


def _of_search(
    arguments: Sequence[str],
    config: DictConfig,
    found: Sorted,
    trials: Sequence[Mapping[str, Any]],
    messages: Sequence[str],
) -> list[str]:
    """The messages about a sweep's trials, and those about its search."""
    from src.config.searching import search_mistakes, whole_numbers

    faults: list[str] = []
    sweep = None
    try:
        sweep = sweeps.sweep_of(arguments)
    except Faults as wrong:
        faults += wrong.faults
    earlier = sweep not in (None, "new")  # which has a space and a search of its own
    looking = any(each.partition("=")[0] in _LOOKING for each in arguments)
    drawn = [sweeps.understood(str(each.input_line)) for each in found.values if each.is_interval_sweep()]
    faults += whole_numbers(messages, drawn)
    if found.readable or not earlier:
        settled = looking or earlier or bool(found.faults) or bool(faults)
        faults += search_mistakes(config, found.readable, trials, may_be_empty=settled)
    return faults


def _overrides(arguments: Sequence[str]) -> list[str]:
    """The arguments that are no flags of Hydra's and no flag's value."""
    flags = ["", *arguments]
    pairs = zip(arguments, flags, strict=False)
    return [each for each, before in pairs if not each.startswith("-") and before not in _WITH_VALUE]


def _concerns(message: str, group: str) -> bool:
    return re.search(rf"\b{re.escape(group)}\b", message) is not None


def _compose(overrides: Sequence[str]) -> DictConfig | Exception:
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return compose("config", list(overrides), return_hydra_config=True)
    except REFUSALS as error:
        return error


def _of_file(base: DictConfig, typed: Sequence[str]) -> list[Override]:
    """What the file of a search varies, but for keys that were typed and what cannot be read."""
    from src.config.searching import listed

    keys = {sweeps.understood(each).key for each in typed}
    found = []
    for key, text in listed(base).items():
        try:
            override = OverridesParser.create().parse_override(f"{key}={text}")
        except HydraException:
            continue
        several = override.is_sweep_override() and not sweeps.refusal(override)
        if several and override.get_key_element().lstrip("+~") not in keys:
            found.append(override)
    return found


def _values(values: Sequence[Override], base: DictConfig, *, many: bool) -> tuple[list[str], DictConfig]:
    """What is wrong with overrides of absent keys and those that Hydra refuses; the config that the others make."""
    present = OmegaConf.to_container(base, resolve=False)
    assert isinstance(present, dict)
    for each in ("hydra", *([] if many else ["search"])):
        present.pop(each, None)  # which nobody means who types a wrong key
    if many:
        present["search"].pop("space", None)  # whose keys may be the wrong ones
    missing: list[str] = []
    messages: list[str] = []
    config = base
    for override in values:
        own = not override.is_add() and not override.is_force_add() and not override.key_or_group.startswith("hydra")
        if own and (message := absent(override.key_or_group, present)):
            missing.append(message)
            continue
        if override.is_add() and not absent(override.key_or_group, present) and not isinstance(override.value(), dict):
            plain_text = str(override.input_line).lstrip("+")
            messages.append(f"+{plain_text}: the key is there already and is changed without +, as {plain_text}")
            continue
        for text in _texts(override):
            changed = config.copy()
            try:
                lay_on(changed, [OverridesParser.create().parse_override(text)])
                config = changed
            except REFUSALS as error:
                messages.append(_message(error))
    return missing + messages, config


def _texts(override: Override) -> list[str]:
    """The override as typed; where it lists several values, with the first."""
    if override.is_interval_sweep():
        return []
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={each}" for each in sweeps.values(override)[:1]]


def _shown(path: str) -> str:
    """A config file as a person finds it: below the project."""
    return path.replace(f"{CONF.parent}/", "")


def _message(error: Exception) -> str:
    """A library's message without its decorations."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, MissingConfigException) and cause.options is not None:
        group, _, choice = str(cause.missing_cfg_file).rpartition("/")
        return f"{group}={choice}: there is no such choice; {suggestion(choice, cause.options)}"
    if isinstance(cause, MarkedYAMLError) and cause.problem_mark is not None:
        mark = cause.problem_mark
        return f"{_shown(mark.name)}, line {mark.line + 1}: not valid YAML ({cause.problem})"
    if isinstance(cause, UnicodeDecodeError):
        found = next((each for each in sorted(CONF.rglob("*.yaml")) if cause.object == each.read_bytes()), CONF)
        return f"{_shown(str(found))}: not UTF-8 (byte {cause.object[cause.start]:#04x} at position {cause.start})"
    if isinstance(cause, RecursionError):
        return f"{_shown(str(CONF))}: a choice is built on itself, through the defaults of its file"
    if twice := re.fullmatch(r"Multiple values for (.*)\. To override a value use 'override (.*)'", str(cause)):
        return f"{twice[1]} is chosen twice; an experiment's defaults write '- override /{twice[2]}'"
    text = re.sub(r"\n\s*(full_key|object_type|reference_type)=?:?.*", "", str(cause)).strip() or type(cause).__name__
    text = text.partition("\n\nConfig search path")[0]
    key = getattr(cause, "full_key", None)
    return f"{key}: {text}" if key and not text.startswith(str(key)) else text
