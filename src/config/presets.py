"""Presets: a few values under one name, for any experiment (conf/preset).

`preset=fast` adds the node `preset` to a config. Its values replace those of the experiment, where
the config has such keys and a use for them, and give way to keys that were typed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from src.config.groups import list_options, load_option
from src.config.rules import SCRATCH_TARGET
from src.core.dataset_info import WHOLE_TEXT_TASKS
from src.core.formatting import to_override_text
from src.core.nested_config import get_by_path, iter_leaves

_ABSENT = object()


def apply_preset(config: DictConfig, typed: Sequence[str]) -> DictConfig:
    """A copy of a composed config with the values of its preset, whose name is all that stays of
    the node; the config itself if it has none.

    Args:
        typed: the overrides that made the config.
    """
    node = config.get("preset")
    if not isinstance(node, DictConfig):
        return config
    preset: Any = OmegaConf.to_container(node)
    typed_keys = {override.lstrip("+~").partition("=")[0] for override in typed}
    changed = config.copy()
    for key, value in iter_leaves(preset["values"]):
        parts = key.split(".")
        is_typed = any(".".join(parts[:count]) in typed_keys for count in range(2, len(parts) + 1))
        if not is_typed and _has_key(changed, key) and _has_use(changed, key, value):
            OmegaConf.update(changed, key, value)
    with open_dict(changed):
        changed.preset = preset["name"]
    return changed


def _has_key(config: DictConfig, key: str) -> bool:
    """True also for a key whose value is null, missing or refers to another."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent)
    return isinstance(node, DictConfig) and name in list(node.keys())


def _has_use(config: Mapping[Any, Any], key: str, value: Any) -> bool:
    """False for a value that this config does not take, or that would change nothing in it."""
    if (has_use := _USES.get(key)) is None:
        return True
    try:
        return get_by_path(config, "data.task") in WHOLE_TEXT_TASKS and has_use(config, value)
    except OmegaConfBaseException:
        # a reference to nothing, which is told where all of them are resolved
        return False


def _cuts_texts(config: Mapping[Any, Any], tokens: int) -> bool:
    limit = get_by_path(config, "data.batching.max_tokens")
    is_pair = get_by_path(config, "data.source.pair") is not None
    return isinstance(limit, int) and tokens < limit and not is_pair


def _has_cut_texts(config: Mapping[Any, Any], fraction: float) -> bool:
    return get_by_path(config, "data.batching.length_warmup_tokens") is not None


def _is_faster_than_body(config: Mapping[Any, Any], rate: float) -> bool:
    body = get_by_path(config, "model.optim.lr")
    is_fresh = get_by_path(config, "model.encoder._target_") == SCRATCH_TARGET
    # an adapter's own factor is for the head too
    has_adapter = get_by_path(config, "model.adapter") is not None
    return isinstance(body, float) and body < rate and not is_fresh and not has_adapter


# keys that only some configs have a use for, all of them of tasks that judge whole texts
_USES: dict[str, Callable[[Mapping[Any, Any], Any], bool]] = {
    "data.batching.length_warmup_tokens": _cuts_texts,
    "data.batching.length_warmup_fraction": _has_cut_texts,
    "model.optim.head_lr": _is_faster_than_body,
}


def describe_preset(config: Mapping[str, Any]) -> str:
    """What the preset of a plain config sets, and which of its keys were typed with other values:
    `preset fast: trainer.max_epochs=1; as typed: model.encoder.dropout=0.1`.
    """
    name = config["preset"]
    present = dict(iter_leaves(config))
    values = load_option("preset", name)["values"] if name in list_options("preset") else {}
    pairs = {
        key: (value, present[key])
        for key, value in iter_leaves(values)
        if present.get(key, _ABSENT) is not _ABSENT and _has_use(config, key, value)
    }
    own = [
        f"{key}={to_override_text(value)}" for key, (value, has) in pairs.items() if has == value
    ]
    other = [
        f"{key}={to_override_text(has)}" for key, (value, has) in pairs.items() if has != value
    ]
    text = f"preset {name}: {' '.join(own) or 'sets nothing here'}"
    return f"{text}; as typed: {' '.join(other)}" if other else text
