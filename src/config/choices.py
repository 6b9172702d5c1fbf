"""What the config folder offers: its groups, the choices of each, and the keys that a choice has."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

CONF = Path(__file__).resolve().parents[2] / "conf"


@cache
def groups() -> frozenset[str]:
    """Every group, `model/encoder` for example. Hydra's own (conf/hydra) are no matter of a run."""
    found = (each.relative_to(CONF) for each in CONF.rglob("*") if each.is_dir())
    return frozenset(each.as_posix() for each in found if each.parts[0] != "hydra")


def choices(group: str) -> list[str]:
    """The names that may stand after `group=`; a file that begins with `_` is what others share."""
    return sorted(each.stem for each in (CONF / group).glob("*.yaml") if not each.stem.startswith("_"))


def content(group: str, choice: str) -> dict[str, Any]:
    """The keys of a choice and of the files that it is built on in its own group; nothing is composed."""
    import yaml

    found = yaml.safe_load((CONF / group / f"{choice}.yaml").read_text(encoding="utf-8")) or {}
    for origin in reversed(found.pop("defaults", [])):
        if isinstance(origin, str) and origin != "_self_":
            found = {**content(group, origin), **found}
    return found


def having(key: str) -> str:
    """The choices of its group that bring a key, as a person types them: `data/batching=masked`."""
    group, name = _place(key)
    return typed(group, [each for each in choices(group) if name in content(group, each)] if group else [])


def without(key: str) -> str:
    """The choices of its group that do not have a key."""
    group, name = _place(key)
    return typed(group, [each for each in choices(group) if name not in content(group, each)] if group else [])


def typed(group: str, names: Sequence[str]) -> str:
    """Choices as a person types them: `model/encoder=mini|tiny`."""
    return f"{group}={'|'.join(names)}" if names else ""


def _place(key: str) -> tuple[str, str]:
    """The group that a key lies directly in, and its name there; no group where it lies elsewhere."""
    group, _, name = key.rpartition(".")
    group = group.replace(".", "/")
    return (group, name) if group in groups() else ("", name)


def at(config: Any, key: str) -> Any:
    """The value of a dotted key in plain values; None where it is not there."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config
