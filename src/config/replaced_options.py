"""Takes out of a config what its files say for an option that a typed one replaces.

`+experiment=ner data/source=files` chooses files in the place of generated sentences. How many of
these there are, and which of their words are entities, is then said of nothing that is there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from src.config.allowed_targets import import_target
from src.config.build_nodes import read_target_schema
from src.config.config_folders import searchpath_overrides
from src.config.groups import ADDED_GROUPS, list_groups, list_options, load_option
from src.config.hydra_composition import compose_with_search
from src.core.dataset_info import TEXT_TASKS
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError
from src.core.validation import is_valid_value

_SOURCE = "data/source"
# What a file of the group `data` says of the labels of its source.
_LABEL_FACTS = ("label_names", "num_labels", "label_values", "label_map")


def drop_replaced_values(config: DictConfig, typed: Sequence[str]) -> DictConfig:
    """A copy of a composed config without the values that its files give to another option than the
    one that was typed: keys that the typed option does not know, and values that it cannot take.

    Another source of data has labels of its own too. The config itself is returned if nothing was
    typed that replaces an option. Keys that were typed stay, so that a wrong one is reported.

    Args:
        typed: the overrides that made the config.
    """
    values = dict(override.lstrip("+").partition("=")[::2] for override in typed)
    chosen = [key for key in values if key in list_groups() and key not in ADDED_GROUPS]
    covered = [
        group
        for group in sorted(list_groups())
        if any(f"{group}/".startswith(f"{key}/") for key in chosen)
    ]
    plain = _to_plain(config) if covered else {}
    nodes = {group: get_by_path(plain, group.replace("/", ".")) for group in covered}
    # composing once more takes a fifth of a second
    groups = [
        group
        for group, node in nodes.items()
        if get_by_path(node, "_target_") is not None
        and ((group == _SOURCE and group in chosen) or any(_find_foreign_names(node, node)))
    ]
    if not groups:
        return config
    names = [name.strip() for name in values.get("experiment", "").split(",")]
    experiments = [
        [f"+experiment={name}"] for name in names if name in list_options("experiment")
    ] or [[]]
    changed = config.copy()
    for experiment in experiments:
        before = _to_plain(compose_with_search([*searchpath_overrides(), *experiment]))
        with open_dict(changed):
            for group in groups:
                _drop_values(changed, before, group, values)
    return changed


def _drop_values(
    config: DictConfig, before: Mapping[str, Any], group: str, typed: Mapping[str, str]
) -> None:
    """Change one group of a config.

    Args:
        before: the config as it would be without the typed options.
        typed: what was typed, by its key.
    """
    path = group.replace("/", ".")
    old, new = get_by_path(before, path), get_by_path(_to_plain(config), path)
    if not isinstance(old, Mapping) or old.get("_target_") in (None, new["_target_"]):
        return
    option = _find_option(group, typed.get(group), new["_target_"])
    words = [word for word in typed if word not in list_groups()]
    for name in list(_find_foreign_names(old, new)):
        key = f"{path}.{name}"
        if any(f"{key}.".startswith(f"{word}.") for word in words):
            continue
        del OmegaConf.select(config, path)[name]
        if name in option:
            OmegaConf.update(config, key, option[name])
    if group == _SOURCE and group in typed:
        _forget_labels(config, before, new, typed)


def _find_foreign_names(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """The keys that a node has as it had them before its class was another, and that are not for
    this one.
    """
    try:
        schema = read_target_schema(import_target(new["_target_"]))
    except UserError:
        # reported when the config is checked
        return
    for name, value in new.items():
        if name == "_target_" or name not in old or value != old[name]:
            continue
        if name not in schema.parameters:
            if not schema.open:
                yield name
        elif not isinstance(value, str | Mapping) and not is_valid_value(
            schema.parameters[name].annotation, value
        ):
            yield name


def _forget_labels(
    config: DictConfig, before: Mapping[str, Any], new: Mapping[str, Any], typed: Mapping[str, str]
) -> None:
    """Leave out what the files say of the labels of the source that was there before; those of
    files are read from the column that conf/data/files.yaml names.
    """
    for name in _LABEL_FACTS:
        key = f"data.{name}"
        if key not in typed and OmegaConf.select(config, key) == get_by_path(before, key):
            OmegaConf.update(config, key, None)
    own = load_option("data", "files")["source"]
    has_labels = OmegaConf.select(config, "data.task") not in TEXT_TASKS
    for name, value in own.items() if has_labels and "hub" in new else ():
        if f"data.source.{name}" not in typed and new.get(name) is None:
            OmegaConf.update(config, f"data.source.{name}", value)


def _find_option(group: str, typed: str | None, target: str) -> dict[str, Any]:
    """The keys of the option of this class, of several the typed one."""
    names = (typed or "").split(",")
    for option in sorted(list_options(group), key=lambda name: name not in names):
        content = load_option(group, option)
        if content.get("_target_") == target:
            return content
    return {}


def _to_plain(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    return plain  # type: ignore[return-value]
