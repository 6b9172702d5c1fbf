"""Finds keys that change nothing beside the others of a config, such as the longest span where
single tokens are masked. They are no mistakes: a search may vary the key that they wait for.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from src.config.allowed_targets import import_target
from src.config.groups import list_groups, list_options, load_option
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError


class _Condition(NamedTuple):
    """Keys of a node that change nothing unless another key has some value.

    Attributes:
        names: the keys in the node.
        other: the dotted key that they wait for.
        is_met: whether a value of that one lets them count.
    """

    node: str
    names: tuple[str, ...]
    other: str
    is_met: Callable[[Any], bool]


def _is_given(value: Any) -> bool:
    return bool(value)


_CONDITIONS = (
    _Condition("data.batching", ("mask_schedule",), "data.batching.mask_fraction_end", _is_given),
    _Condition(
        "data.batching",
        ("span_probability", "max_span_words"),
        "data.batching.mask_unit",
        lambda unit: unit == "span",
    ),
    _Condition(
        "data.batching",
        ("length_warmup_fraction",),
        "data.batching.length_warmup_tokens",
        _is_given,
    ),
    _Condition("data.augmentation", ("synonym_share",), "data.augmentation.synonyms", _is_given),
    _Condition("data.augmentation", ("synonyms",), "data.augmentation.synonym_share", _is_given),
    _Condition(
        "data.augmentation",
        ("deletion", "swap", "synonyms"),
        "data.augmentation.unchanged",
        lambda share: share < 1,
    ),
    _Condition("data.cleaning", ("language_min_letters",), "data.cleaning.languages", _is_given),
    _Condition("data.split", ("validation",), "data.split.fold", lambda fold: fold is None),
    _Condition(
        "model.optim",
        ("decay_fraction", "decay_shape"),
        "model.optim.schedule",
        lambda schedule: schedule == "wsd",
    ),
    _Condition("model.optim", ("cautious_decay",), "model.optim.weight_decay", _is_given),
    _Condition("model.optim", ("layer_decay",), "model.freeze", lambda freeze: freeze != "encoder"),
    _Condition("model.objective", ("temperature",), "model.objective.soft_share", _is_given),
    _Condition(
        "callbacks.weight_averaging",
        ("decay",),
        "callbacks.weight_averaging.method",
        lambda method: method == "ema",
    ),
    _Condition(
        "callbacks.progress",
        ("line_seconds",),
        "callbacks.progress.style",
        lambda style: style in ("auto", "lines"),
    ),
    _Condition(
        "report",
        ("fill_in_probes",),
        "data.task",
        lambda task: task in ("masked_lm", "masked_lm_with_next_sentence"),
    ),
    _Condition("trainer", ("max_skips",), "trainer.on_non_finite", lambda what: what == "skip"),
)


def find_idle_keys(config: Mapping[str, Any]) -> dict[str, str]:
    """The keys that were set and change nothing, and what is to be said of each.

    Args:
        config: the composed config of a run, as plain Python. That a key was set is seen by its
            value, which is neither the default of its class nor that of an option in conf/.
    """
    found = dict(_find_idle_augmentation(config))
    for node, names, other, is_met in _CONDITIONS:
        content = get_by_path(config, node)
        value = get_by_path(config, other)
        if not isinstance(content, Mapping) or not _has_key(config, other) or is_met(value):
            continue
        for name in names:
            key = f"{node}.{name}"
            if name in content and content[name] not in _list_shipped_values(node, name, content):
                with_other = f"{other}={'null' if value is None else value}"
                found.setdefault(key, f"{key}={content[name]} changes nothing with {with_other}")
    return found


def _has_key(config: Mapping[str, Any], key: str) -> bool:
    node, _, name = key.rpartition(".")
    content = get_by_path(config, node)
    return isinstance(content, Mapping) and name in content


def _find_idle_augmentation(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """All of it, where every share is 0."""
    key = "data.augmentation"
    node = get_by_path(config, key)
    shares = [get_by_path(config, f"{key}.{name}") for name in ("deletion", "swap")]
    if isinstance(node, Mapping) and shares == [0, 0]:
        replaced = node.get("synonyms") and node.get("synonym_share")
        if not replaced:
            yield key, f"{key} changes no text: deletion=0, swap=0 and no synonyms"


def _list_shipped_values(node: str, name: str, content: Mapping[str, Any]) -> list[Any]:
    """The values that a key has where nobody sets it: that of its class, and those of options."""
    target = content.get("_target_")
    values = []
    try:
        parameters = inspect.signature(import_target(target)).parameters if target else {}
    except UserError:
        # another message tells that
        parameters = {}
    if name in parameters:
        values.append(parameters[name].default)
    for group in list_groups():
        prefix = group.replace("/", ".")
        if node != prefix and not node.startswith(f"{prefix}."):
            continue
        rest = node.removeprefix(prefix).removeprefix(".")
        for option in list_options(group):
            shipped: Any = load_option(group, option)
            shipped = get_by_path(shipped, rest) if rest else shipped
            if isinstance(shipped, Mapping) and name in shipped:
                values.append(shipped[name])
    return values
