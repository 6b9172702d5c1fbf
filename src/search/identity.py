"""Which sweep a command line means: a new one, the one that the same command has begun, or one named by its id."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.terms.fault import Fault
from src.tracking.params import flatten
from src.tracking.redaction import STARS, hidden_arguments, hidden_yaml

if TYPE_CHECKING:
    from src.search.study import Storage

# How long, how many at a time, where and how it is shown: none of it makes another sweep.
_FREE = (
    "search.max_trials", "search.max_hours", "search.max_tokens", "search.max_failures", "search.retry_failed",
    "search.on_out_of_memory", "search.launcher", "search.jobs", "search.warm", "search.storage",
    "search.report_seconds", "tracking", "hydra",
)  # fmt: skip
_SAME = ("sampler", "pruner", "monitor", "mode")  # of the search's node: what its trials and their order depend on


@dataclass(frozen=True)
class Asked:
    """What a sweep is asked to be.

    Args:
        typed: the command line, without flags and `sweep=`.
        space: what stands behind each key that varies.
        search: the node `search` of the composed config.
        config: of a trial in which nothing of the space is set, as YAML.
        differences: given two such configs, what of importance is not the same: by key the words "KEY (OLD -> NEW)".
        sweep: None, `new`, or the first digits of an id or all of them.
    """

    typed: Sequence[str]
    space: Mapping[str, str]
    search: Mapping[str, Any]
    config: str
    differences: Callable[[str, str], Mapping[str, str]]
    sweep: str | None = None

    @property
    def key(self) -> str:
        """Equal for commands that ask for the same sweep."""
        return json.dumps(sorted(each for each in hidden_arguments(self.typed) if not _is_free(each)))

    @property
    def about(self) -> dict[str, Any]:
        """What is kept of it with the sweep. Secrets are starred out."""
        return {
            "key": self.key,
            "typed": hidden_arguments(self.typed),
            "space": dict(self.space),
            "search": {name: self.search.get(name) for name in _SAME},
            "config": hidden_yaml(self.config),
        }


def find(storage: "Storage", asked: Asked) -> str | None:
    """The id of the sweep to go on with; None where a new one begins.

    Raises:
        Fault: the sweep that is meant has other trials than these would be, or there is none of that id.
    """
    if asked.sweep == "new":
        return None
    known = storage.studies()
    if asked.sweep is not None:
        name, about = by_id(known, asked.sweep)
    else:
        name, about = next(((name, about) for name, about in known if about.get("key") == asked.key), ("", {}))
    if not name:
        return None
    if changes := _changes(about, asked):
        listed = ", ".join(changes)
        if asked.sweep is not None:
            raise Fault(
                f"sweep={asked.sweep} goes on as it began, and its trials would now be others: {listed}. "
                "Two ways on: take that back, or leave sweep= out to begin another sweep"
            )
        raise Fault(
            f"sweep {name[:8]} was begun by this very command, but a config has changed since: {listed}. "
            "Two ways on: put that back and go on with it, or type sweep=new to begin another sweep"
        )
    return name


def command(storage: "Storage", sweep: str, added: Sequence[str]) -> list[str]:
    """The command line that a sweep was begun with, and what is typed now behind it."""
    _, about = by_id(storage.studies(), sweep)
    given = {each.lstrip("+~").partition("=")[0] for each in added}
    kept = [each for each in about["typed"] if each.lstrip("+~").partition("=")[0] not in given]
    secret = [each.partition("=")[0] for each in kept if STARS in each]
    if secret:
        raise Fault(f"sweep={sweep}: it does not hold the secret {', '.join(secret)}; type it again, with =VALUE")
    return [*kept, *added]


def by_id(known: Sequence[tuple[str, Mapping[str, Any]]], sweep: str) -> tuple[str, Mapping[str, Any]]:
    """The one sweep whose id begins so."""
    found = [(name, about) for name, about in known if name.startswith(sweep)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Fault(f"sweep={sweep} begins several ids: {', '.join(name for name, _ in found)}; give more digits")
    latest = ", ".join(f"{name[:8]} ({_cut(' '.join(about.get('typed', [])))})" for name, about in known[:3])
    raise Fault(f"sweep={sweep}: there is no such sweep; " + (f"the latest are {latest}" if latest else "none is kept"))


def storage_folder(arguments: Sequence[str], default: Path) -> tuple[str | None, Path]:
    """The address and the folder of the storage that a command line means, before anything is composed."""
    given = {key.lstrip("+"): text for key, _, text in (each.partition("=") for each in arguments)}
    address = given.get("search.storage", "null").strip("'\"")
    root = given.get("tracking.root", "").strip("'\"")
    return (None if address in ("null", "") else address), (Path(root) if root else default) / "mlruns"


def _changes(about: Mapping[str, Any], asked: Asked) -> list[str]:
    """Everything that makes the trials of a sweep others than they were, in words."""
    now = asked.about
    before = dict(about["space"]) | flatten({"search": about["search"]})
    after = now["space"] | flatten({"search": now["search"]})
    words = [
        f"{key} ({before.get(key, 'absent')} -> {after.get(key, 'absent')})"
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    ]
    varied = [key.lstrip("+").replace("/", ".") for key in now["space"]]
    found = asked.differences(about["config"], now["config"])
    return words + [found[key] for key in found if not any(f"{key}.".startswith(f"{each}.") for each in varied)]


def _is_free(argument: str) -> bool:
    key = argument.lstrip("+~").partition("=")[0].replace("/", ".")
    return any(key == each or key.startswith(f"{each}.") for each in _FREE)


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
