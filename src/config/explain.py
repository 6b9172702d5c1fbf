"""Why Hydra refused a command line, in a person's words, and everything else that is wrong with it."""

import re
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config.check import check
from src.config.signature import Signature
from src.terms.fault import Fault, Faults, suggestion

CONF = Path(__file__).resolve().parents[2] / "conf"


def explain(arguments: list[str], refusal: Exception, task: Signature) -> Faults:
    """All faults of a command line that Hydra could not compose.

    Args:
        arguments: what was typed after the program's name.
        refusal: what Hydra raised; given as it is where nothing better is found.
        task: the signature of the task function.
    """
    faults: list[Fault] = []
    sound: list[str] = []
    for text in (each for each in arguments if not each.startswith("-")):
        try:
            override = OverridesParser.create().parse_override(text)
        except OverrideParseException:
            faults.append(Fault(_unreadable(text)))
            continue
        if _is_group(override):
            found = _group_fault(override)
            faults += found
            sound += [] if found else [text]
    values = [each for each in arguments if not each.startswith("-") and each not in sound]
    base = _compose(sound)
    if isinstance(base, Exception):
        return Faults([*faults, _plain(base)])
    for text in values:
        fault = _value_fault(text, base)
        if fault is None and not isinstance(_compose([*sound, text]), Exception):
            sound.append(text)
        elif fault is not None:
            faults.append(fault)
    whole = _compose(sound)
    if not isinstance(whole, Exception):
        faults += _node_faults(whole, task)
    return Faults(faults or [_plain(refusal)])


def _node_faults(config: DictConfig, task: Signature) -> list[Fault | str]:
    try:
        check(OmegaConf.to_container(config, resolve=True), task)  # type: ignore[arg-type]
    except Faults as faults:
        return list(faults.faults)
    except OmegaConfBaseException as error:
        return [_plain(error)]
    return []


def _compose(overrides: list[str]) -> DictConfig | Exception:
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return compose("config", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        return error


def _unreadable(text: str) -> str:
    if "=" not in text:
        return f"'{text}' is no override: expected KEY=VALUE, as in model.optim.lr=1e-5"
    return f"'{text}' cannot be read: a value with special characters wants quotes, as in '{text.split('=')[0]}=\"a, b\"'"


def _is_group(override: Override) -> bool:
    return (CONF / override.key_or_group).is_dir() and not isinstance(override.value(), dict)


def _group_fault(override: Override) -> list[Fault]:
    group, choice = override.key_or_group, override.value()
    options = [each.stem for each in (CONF / group).glob("*.yaml")]
    if choice is not None and str(choice) not in options and not override.is_sweep_override():
        return [Fault(f"{group}={choice}: there is no such choice; {suggestion(choice, options)}")]
    if group == "experiment" and not override.is_add():
        return [Fault(f"experiment={choice}: an experiment is added on top, as +experiment={choice}")]
    if group != "experiment" and override.is_add():
        return [Fault(f"+{group}={choice}: this group has a default that is replaced, as {group}={choice}")]
    return []


def _value_fault(text: str, base: DictConfig) -> Fault | None:
    """An override of a key that is not there, with the nearest one that is."""
    try:
        override = OverridesParser.create().parse_override(text)
    except OverrideParseException:
        return None
    if override.is_add() or override.is_force_add() or override.key_or_group.startswith("hydra"):
        return None
    node: Any = base
    seen: list[str] = []
    for part in override.key_or_group.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            names = [str(each) for each in node if not str(each).startswith("_")] if isinstance(node, DictConfig) else []
            groups = [each.name for each in CONF.iterdir() if each.is_dir()] if not seen else []
            at = ".".join([*seen, part])
            return Fault(f"{at}: there is no such key; {suggestion(part, {*names, *groups})}")
        node = node._get_node(part)
        if isinstance(node, DictConfig) is False and hasattr(node, "_value"):
            node = node._value()
        seen.append(part)
    return None


def _plain(error: Exception) -> str:
    """A library's message without its decorations."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = re.sub(r"\n\s*(full_key|object_type|reference_type)=?:?.*", "", str(cause)).strip()
    key = getattr(cause, "full_key", None)
    return f"{key}: {text}" if key and not text.startswith(str(key)) else text
