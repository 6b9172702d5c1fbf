"""Lists the groups of the config folder, the options of each group, and the keys of an option."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from src.core.files import CONF
from src.core.user_errors import UserError

# Groups that are in no config by default, and are added on top: as +experiment=NAME.
ADDED_GROUPS = ("experiment", "preset")
# Groups that may be null in a config.
NULLABLE_GROUPS = (
    "data/augmentation",
    "data/shards",
    "model/adapter",
    "model/regularization",
    "search/pruner",
)


# Config folders that a command line adds to conf/.
_added_folders: list[Path] = []


def set_config_folders(folders: Sequence[Path]) -> None:
    """Have the options of further config folders known, instead of those added before."""
    _added_folders[:] = folders
    list_groups.cache_clear()


def list_added_folders() -> list[Path]:
    """The config folders that a command line has added."""
    return [*_added_folders]


def _list_folders() -> list[Path]:
    return [CONF, *_added_folders]


@cache
def list_groups() -> frozenset[str]:
    """Every group, such as `model/encoder`, except Hydra's own (conf/hydra)."""
    folders = (
        path.relative_to(root)
        for root in _list_folders()
        for path in root.rglob("*")
        if path.is_dir()
    )
    return frozenset(folder.as_posix() for folder in folders if folder.parts[0] != "hydra")


def list_options(group: str) -> list[str]:
    """The names that may stand after `group=`. A file whose name begins with `_` is shared by the
    options and is not one.
    """
    return sorted(
        {
            file.stem
            for root in _list_folders()
            for file in (root / group).glob("*.yaml")
            if not file.stem.startswith("_")
        }
    )


def list_option_files(group: str, option: str) -> list[Path]:
    """The files of an option; of several Hydra takes the first."""
    files = (root / group / f"{option}.yaml" for root in _list_folders())
    return [file for file in files if file.is_file()]


def load_option(group: str, option: str) -> dict[str, Any]:
    """The keys of an option and of the files of its own group that it is built on. Nothing is
    composed. Nodes below the first level are shared by all callers, which change none of them.
    """
    files = [root / group / f"{option}.yaml" for root in _list_folders()]
    file = next((file for file in files if file.exists()), files[0])
    content = dict(_parse_file(file, file.stat().st_mtime_ns))
    for default in reversed(content.pop("defaults", [])):
        if isinstance(default, str) and default != "_self_":
            content = {**load_option(group, default), **content}
    return content


@cache
def _parse_file(file: Path, changed_at: int) -> dict[str, Any]:
    """The content of a YAML file as it is since an instant, in nanoseconds."""
    loader = _build_loader_class()(file.read_text(encoding="utf-8"))
    content: dict[str, Any] = loader.get_single_data() or {}
    return content


@cache
def _build_loader_class() -> Any:
    """A reader of YAML to whom 1e-3 is a number, as it is to Hydra's."""
    import yaml

    # in C, ten times as fast as `yaml.safe_load`, where PyYAML was built with it
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader_class: Any = type("OptionLoader", (base,), {})
    number = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$")
    loader_class.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    return loader_class


def load_all_options() -> None:
    """Read every option, so that processes that are copied from this one need not."""
    for group in list_groups():
        for option in list_options(group):
            load_option(group, option)


def options_with_key(key: str) -> str:
    """The options that have a key, as typed: `data/batching=masked`. Empty if `key` does not lie
    directly in a group, or if no option has it.
    """
    group, name = _split_group_key(key)
    options = list_options(group) if group else []
    return format_group_override(
        group, [option for option in options if name in load_option(group, option)]
    )


def say_who_has(key: str) -> str:
    """The words that name the options with a key: `data/batching=masked has it`; for a key of files
    first the experiment, whose other keys fit them too. Empty as `options_with_key`.
    """
    options = options_with_key(key)
    if options.startswith("data/source=files"):
        return f"+experiment=files, or {options}, has it"
    return options and f"{options} has it"


def options_without_key(key: str) -> str:
    """The options of the key's group that do not have it, as typed."""
    group, name = _split_group_key(key)
    options = list_options(group) if group else []
    return format_group_override(
        group, [option for option in options if name not in load_option(group, option)]
    )


def format_group_override(group: str, options: Sequence[str]) -> str:
    """Options of a group as typed: `model/encoder=mini|tiny`; empty if there are none."""
    return f"{group}={'|'.join(options)}" if options else ""


def _split_group_key(key: str) -> tuple[str, str]:
    """The group that a key lies directly in (empty if it lies elsewhere), and its name there."""
    group, _, name = key.rpartition(".")
    group = group.replace(".", "/")
    return (group, name) if group in list_groups() else ("", name)


def find_listed_options(override: str) -> UserError | None:
    """The error of an override that lists options of a group of which one alone can be there
    (`model/optim=[adamw,muon]`), where Hydra would lay the second over the first in silence.
    """
    group, _, value = override.lstrip("+").partition("=")
    names = [name.strip() for name in value.strip("[] ").split(",")]
    if group not in list_groups() or not value.startswith("[") or len(names) < 2:
        return None
    known = [name for name in names if name in list_options(group)]
    if group not in ADDED_GROUPS and not any(
        "_target_" in load_option(group, name) for name in known
    ):
        return None
    mark = "+" * (group in ADDED_GROUPS)
    return UserError(
        "a run has one of these",
        where=override,
        hint=f"several runs are listed without brackets, as -m {mark}{group}={','.join(names)}",
    )


def find_dropped_option(overrides: Sequence[str]) -> UserError | None:
    """The error of options of one group that are chosen one by one where a run can have them all
    (`callbacks=early_stopping callbacks=probe`), since Hydra takes the last of them in silence.
    """
    chosen: dict[str, list[str]] = {}
    for override in overrides:
        group, _, name = override.partition("=")
        if group in list_groups() and name in list_options(group):
            chosen.setdefault(group, []).append(name)
    for group, names in chosen.items():
        different = list(dict.fromkeys(names))
        if len(different) > 1 and not any(
            "_target_" in load_option(group, name) for name in different
        ):
            return UserError(
                "the last one alone would be there",
                where=" ".join(f"{group}={name}" for name in different),
                hint=f"a run has them all by {group}=[{','.join(different)}]",
            )
    return None


def find_doubled_group(overrides: Sequence[str]) -> str | None:
    """The override that adds a group (`+trainer=gpu`) of which another one chooses the option
    (`trainer=cpu`), where Hydra takes one of the two in silence; None if there is none.
    """
    chosen = {override.partition("=")[0] for override in overrides} & list_groups()
    return next(
        (
            override
            for override in overrides
            if override.startswith("+") and override.lstrip("+").partition("=")[0] in chosen
        ),
        None,
    )
