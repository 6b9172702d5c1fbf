"""Why Hydra refused a command line, in a person's words, and everything else that is wrong with it."""

import re
from collections.abc import Sequence

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
from src.config.choices import CONF, choices, groups
from src.config.compose import REFUSALS, Unfit, added, lay_on, plain
from src.config.nearest import absent
from src.config.signature import Signature
from src.config.targets import refuse_hydra
from src.terms.fault import Fault, Faults, suggestion

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
    """What is wrong with a command line; in a multirun with any of its values.

    `composed` is what its groups make, where that is known already.
    """
    faults: list[str] = []
    sound: list[str] = []  # groups as typed, or as they were probably meant
    values: list[Override] = []
    unknown: list[str] = []  # groups whose choice nobody can guess
    several = bool({"-m", "--multirun"} & set(arguments))
    written = _overrides(arguments)
    for typed, text in zip(written, added(written, task), strict=True):
        if typed.startswith("="):
            faults.append(f"'{typed}' has no key: expected KEY=VALUE, without spaces around the equals sign")
            continue
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            faults.append(unreadable(typed))
            continue
        if override.is_sweep_override() and not several:
            faults.append(
                f"{text}: several values make several runs, which -m asks for (python -m src.run -m ...); "
                f"one list is written {override.get_key_element()}=[{text.partition('=')[2]}]"
            )
        elif override.is_sweep_override() and (message := sweeps.refusal(override)):
            faults.append(message)
        elif override.key_or_group.startswith("hydra/"):
            sound.append(text)
        elif override.key_or_group in groups() and not override.is_delete() and not isinstance(override.value(), dict):
            wrong, meant = _group(override)
            faults += wrong
            sound += meant
            unknown += [] if meant else [override.key_or_group.replace("/", ".")]
        else:
            values.append(override)
    experiments = [each for each in sound if each.startswith("+experiment=")]
    if len(experiments) > 1:
        faults.append(f"{' and '.join(experiments)}: a run takes one experiment; with -m several make several runs")
        return faults
    if "experiment" in unknown:  # everything else depends on it
        return faults
    base = _compose(sound) if composed is None else composed
    if isinstance(base, Exception):
        return [*faults, _message(base)]
    later, config = _values(values, base)
    with open_dict(config):
        own = config.pop("hydra", DictConfig({}))
    try:
        refuse_hydra(OmegaConf.to_container(own), [str(each.input_line) for each in values])  # type: ignore[arg-type]
    except Fault as fault:
        later.append(str(fault))
    for each in (config, *sweeps.variants(values, config)):
        try:
            check(plain(each), task)
        except Faults as found:
            later += found.faults
    later = [each for each in later if not any(_concerns(each, group) for group in unknown)]
    return list(dict.fromkeys([*map(str, faults), *later]))  # the values of a sweep may share a mistake


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


def unreadable(text: str) -> str:
    if "=" not in text:
        return f"'{text}' is no override: expected KEY=VALUE, as in model.optim.lr=1e-5 (spaces want quotes)"
    return (
        f"'{text}' cannot be read: a value with special characters wants quotes, as in '{text.split('=')[0]}=\"a, b\"'"
    )


def _group(override: Override) -> tuple[list[str], list[str]]:
    """What is wrong with a choice, and the override that was probably meant; none where nobody can tell."""
    group = override.key_or_group
    options = choices(group)
    messages: list[str] = []
    near = None
    for choice in sweeps.of_group(override, options):
        hint = "" if choice in options else suggestion(choice, options)
        guess = re.fullmatch(r"did you mean '(.*)'\?", hint)
        near = near or (choice if not hint else guess.group(1) if guess else None)
        if hint:
            messages.append(f"{group}={choice}: there is no such choice; {hint}")
    shown = override.input_line.lstrip("+").partition("=")[2] if override.input_line else near
    if not messages and group == "experiment" and not override.is_add():
        messages.append(f"experiment={shown}: an experiment is added on top, as +experiment={shown}")
    if not messages and group != "experiment" and override.is_add():
        messages.append(f"+{group}={shown}: this group has a default that is replaced, as {group}={shown}")
    return messages, [] if near is None else [f"{'+' * (group == 'experiment')}{group}={near}"]


def _values(values: Sequence[Override], base: DictConfig) -> tuple[list[str], DictConfig]:
    """What is wrong with overrides of absent keys and those that Hydra refuses; the config that the others make."""
    present = OmegaConf.to_container(base, resolve=False)
    assert isinstance(present, dict)
    present.pop("hydra", None)  # which nobody means who types a wrong key
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
    """The override as typed; where it gives several values, with the first (of a glob none is known yet)."""
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
