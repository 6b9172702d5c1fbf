"""Why Hydra refused a command line, in a person's words, and everything else that is wrong with it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from src.config.check import check
from src.config.choices import CONF, choices, groups, having
from src.config.compose import REFUSALS, Unfit, added, lay_on, plain
from src.config.signature import Signature
from src.terms.fault import Faults, suggestion

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
    for text in added(_overrides(arguments), task):
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            faults.append(_unreadable(text))
            continue
        if override.is_sweep_override() and not several:
            faults.append(
                f"{text}: several values make several runs, which -m asks for (python -m src.run -m ...); "
                f"one list is written {override.get_key_element()}=[{text.partition('=')[2]}]"
            )
        elif override.key_or_group in groups() and not override.is_delete() and not isinstance(override.value(), dict):
            message, meant = _group(override)
            faults += message
            sound += meant
            unknown += [] if meant else [override.key_or_group.replace("/", ".")]
        else:
            values.append(override)
    if "experiment" in unknown:  # everything else depends on it
        return faults
    base = _compose(sound) if composed is None else composed
    if isinstance(base, Exception):
        return [*faults, _message(base)]
    later, config = _values(values, base)
    with open_dict(config):
        config.pop("hydra", None)
    for each in (config, *_variants(values, config)):
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


def _unreadable(text: str) -> str:
    if "=" not in text:
        return f"'{text}' is no override: expected KEY=VALUE, as in model.optim.lr=1e-5"
    return (
        f"'{text}' cannot be read: a value with special characters wants quotes, as in '{text.split('=')[0]}=\"a, b\"'"
    )


def _group(override: Override) -> tuple[list[str], list[str]]:
    """What is wrong with a choice, and the override that was probably meant; none where nobody can tell."""
    group, value = override.key_or_group, override.value()
    given = value.list if isinstance(value, ChoiceSweep) else value if isinstance(value, list) else [value]
    options = choices(group)
    messages: list[str] = []
    near = None
    for choice in ("null" if each is None else str(each) for each in given):
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
    absent: list[str] = []
    messages: list[str] = []
    config = base
    for override in values:
        own = not override.is_add() and not override.is_force_add() and not override.key_or_group.startswith("hydra")
        if own and (message := _absent(override.key_or_group, present)):
            absent.append(message)
            continue
        for text in _texts(override):
            changed = config.copy()
            try:
                lay_on(changed, [OverridesParser.create().parse_override(text)])
                config = changed
            except REFUSALS as error:
                messages.append(_message(error))
    return absent + messages, config


def _texts(override: Override) -> list[str]:
    """The override as typed; where it sweeps, with its first value (ranges and globs have none before Hydra runs)."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if not override.is_choice_sweep():
        return []
    return [f"{override.get_key_element()}={next(override.sweep_string_iterator())}"]


def _variants(values: Sequence[Override], config: DictConfig) -> Iterator[DictConfig]:
    """The config with each further value of each key that a multirun sweeps, one at a time."""
    for override in values:
        if not override.is_choice_sweep() or OmegaConf.select(config, override.key_or_group) is None:
            continue
        key = override.key_or_group
        for text in list(override.sweep_string_iterator())[1:]:
            variant = config.copy()
            OmegaConf.update(variant, key, OverridesParser.create().parse_override(f"{key}={text}").value())
            yield variant


def _absent(key: str, present: Any) -> str | None:
    """The message about a key that is not there, with the nearest one that is."""
    node: Any = present
    seen: list[str] = []
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            break
        node = node[part]
        seen.append(part)
    else:
        return None
    wrong = ".".join([*seen, part])
    names = {str(each) for each in node if not str(each).startswith("_")} if isinstance(node, Mapping) else set()
    names |= set() if seen else {each for each in groups() if "/" not in each and each not in ("tracking", "search")}
    hint = suggestion(part, names)
    if not hint.startswith("did"):
        plain_key = key.replace("/", ".")
        elsewhere = [each for each in _keys("", present) if each == plain_key or each.endswith(f".{plain_key}")]
        if elsewhere:
            hint = f"did you mean '{elsewhere[0]}'?"
        elif found := having(wrong):
            hint = f"{found} has it"
        elif seen and not names:
            hint = f"{'.'.join(seen)} is a value"
    return f"{wrong}: there is no such key; {hint}"


def _keys(path: str, node: Any) -> Iterator[str]:
    """Every dotted key of a config, in its order."""
    for key, each in node.items() if isinstance(node, Mapping) else ():
        yield f"{path}.{key}".lstrip(".")
        yield from _keys(f"{path}.{key}".lstrip("."), each)


def _message(error: Exception) -> str:
    """A library's message without its decorations."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = re.sub(r"\n\s*(full_key|object_type|reference_type)=?:?.*", "", str(cause)).strip() or type(cause).__name__
    key = getattr(cause, "full_key", None)
    return f"{key}: {text}" if key and not text.startswith(str(key)) else text
