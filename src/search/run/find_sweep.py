"""Which sweep a command line means: a new one, the one that the same command has begun, or one
named by its id.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.formatting import flatten_config, truncate_end
from src.core.printing import print_line
from src.core.redaction import REDACTED, redact_arguments, redact_yaml
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from src.search.sweep_study import SweepStorage
    from src.tracking.earlier_runs import RunInfo
    from src.tracking.store import Store

# How long, how many at a time, where and how it is shown: none of it makes another sweep.
_CHANGEABLE_KEYS = (
    "search.max_trials",
    "search.max_hours",
    "search.max_tokens",
    "search.max_failures",
    "search.retry_failed",
    "search.on_out_of_memory",
    "search.launcher",
    "search.ray",
    "search.jobs",
    "search.warm",
    "search.storage",
    "search.report_seconds",
    "tracking",
    "hydra",
)
# of the node `search`: what its trials and their order depend on
_IDENTITY_FIELDS = ("sampler", "pruner", "monitor", "mode")
# which sweeps begun before they were there lack; these go on with what is shipped now
_NEWER_KEYS = ("search.pruner.warmup_share",)
# the pruner of `search=learning_rate` as it was first shipped
_FORMER_PRUNER = {
    "_target_": "src.search.pruners.Median",
    "startup_trials": 5,
    "warmup_validations": 0,
    "patience": None,
}


@dataclass(frozen=True)
class SweepRequest:
    """What a sweep is asked to be.

    Args:
        overrides: the command line, without flags and `sweep=`.
        space: what is typed for each key that varies.
        search: the node `search` of the composed config.
        config: of a trial in which nothing of the space is set, as YAML.
        compare_configs: finds the important differences of two such configs: by key the words
            "KEY (OLD -> NEW)".
        sweep: None, `new`, or the first digits of an id or all of them.
    """

    overrides: Sequence[str]
    space: Mapping[str, str]
    search: Mapping[str, Any]
    config: str
    compare_configs: Callable[[str, str], Mapping[str, str]]
    sweep: str | None = None

    @property
    def identity_key(self) -> str:
        """Equal for commands that ask for the same sweep."""
        shown = redact_arguments(self.overrides)
        return json.dumps(sorted(text for text in shown if not _may_change_on_resume(text)))

    @property
    def stored_attributes(self) -> dict[str, Any]:
        """What the study keeps of the request, secrets redacted."""
        return {
            "key": self.identity_key,
            "typed": redact_arguments(self.overrides),
            "space": dict(self.space),
            "search": {name: self.search.get(name) for name in _IDENTITY_FIELDS},
            "config": redact_yaml(self.config),
        }


def find_sweep(storage: "SweepStorage", request: SweepRequest) -> str | None:
    """The id of the sweep to go on with; None if a new one begins.

    Raises:
        UserError: the trials of the sweep would now be others, or there is none of that id.
    """
    if request.sweep == "new":
        return None
    studies = storage.list_studies()
    if request.sweep is not None:
        name, attributes = match_sweep_id(studies, request.sweep)
    else:
        key = request.identity_key
        equal = [(name, known) for name, known in studies if known.get("key") == key]
        if not equal:
            return None
        name, attributes = equal[0]
    if changes := _describe_changes(attributes, request):
        listed = ", ".join(changes)
        if request.sweep is not None:
            raise UserError(
                f"sweep={request.sweep} goes on as it began, and its trials would now be others: "
                f"{listed}. "
                "Two ways on: take that back, or leave sweep= out to begin another sweep"
            )
        raise UserError(
            f"sweep {name[:8]} was begun by this very command, but a config has changed since: "
            f"{listed}. "
            "Two ways on: put that back and go on with it, or type sweep=new to begin another sweep"
        )
    return name


def find_sweep_run(store: "Store", sweep: str, request: SweepRequest) -> "RunInfo":
    """The run of a sweep that goes on.

    Raises:
        UserError: it was deleted, or cannot be looked up.
    """
    try:
        return store.find_run(sweep, key="run")
    except UserError as error:
        begun = "was begun by this very command" if request.sweep is None else "is kept"
        way_on = "type" if request.sweep is None else "type the sweep's whole command with"
        raise UserError(
            f"sweep {sweep[:8]} {begun}, but its run cannot be used ({error}); {way_on} sweep=new "
            "to begin another sweep"
        ) from error


def restore_overrides(storage: "SweepStorage", sweep: str, added: Sequence[str]) -> list[str]:
    """The command line that a sweep was begun with, and behind it what is typed now.

    Raises:
        UserError: there is no such sweep, or a secret must be typed again.
    """
    _, attributes = match_sweep_id(storage.list_studies(), sweep)
    typed_now = set(map(_key_of, added))
    kept = [text for text in attributes["typed"] if _key_of(text) not in typed_now]
    secret = [text.partition("=")[0] for text in kept if REDACTED in text]
    if secret:
        raise UserError(
            f"sweep={sweep}: it does not hold the secret {', '.join(secret)}; type it again, with "
            "=VALUE"
        )
    return [*kept, *added]


def match_sweep_id(
    studies: Sequence[tuple[str, Mapping[str, Any]]], sweep: str
) -> tuple[str, Mapping[str, Any]]:
    """The name and the attributes of the one study whose name begins with `sweep`."""
    matching = [(name, attributes) for name, attributes in studies if name.startswith(sweep)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UserError(
            f"sweep={sweep} begins several ids: {', '.join(name for name, _ in matching)}; give "
            "more digits"
        )
    latest = ", ".join(
        f"{name[:8]} ({truncate_end(' '.join(attributes.get('typed', [])), 80)})"
        for name, attributes in studies[:3]
    )
    raise UserError(
        f"sweep={sweep}: there is no such sweep; "
        + (f"the latest are {latest}" if latest else "none is kept")
    )


def parse_storage_location(arguments: Sequence[str], default: Path) -> tuple[str | None, Path]:
    """The address and the folder of the storage that a command line means, before anything is
    composed.

    Args:
        default: the root folder if `tracking.root` is not typed.
    """
    pairs = [text.partition("=") for text in arguments]
    values = {key.lstrip("+"): value.strip("'\"") for key, _, value in pairs}
    address = values.get("search.storage", "null")
    root = values.get("tracking.root") or default
    return None if address in ("null", "") else address, Path(root) / "mlruns"


def _describe_changes(stored: Mapping[str, Any], request: SweepRequest) -> list[str]:
    """All that makes the trials of a sweep others than they were, in words."""
    current = request.stored_attributes
    searches = [dict(stored["search"]), dict(current["search"])]
    names_pruner = any(
        _key_of(text).replace("/", ".").startswith("search.pruner") for text in request.overrides
    )
    if searches[0].get("pruner") == _FORMER_PRUNER and not names_pruner:
        # nobody has chosen it: the sweep goes on with what is shipped now
        former, current_pruner = (search.pop("pruner") for search in searches)
        if current_pruner != former:
            print_line("note: the pruner of search=learning_rate has changed since the sweep began")
    before = dict(stored["space"]) | flatten_config({"search": searches[0]})
    after = current["space"] | flatten_config({"search": searches[1]})
    changes = [
        f"{key} ({before.get(key, 'absent')} -> {after.get(key, 'absent')})"
        for key in {**before, **after}
        if before.get(key) != after.get(key) and (key in before or key not in _NEWER_KEYS)
    ]
    varied = tuple(key.lstrip("+").replace("/", ".") + "." for key in current["space"])
    differences = request.compare_configs(stored["config"], current["config"])
    return changes + [differences[key] for key in differences if not f"{key}.".startswith(varied)]


def _may_change_on_resume(argument: str) -> bool:
    key = _key_of(argument).replace("/", ".")
    return any(f"{key}.".startswith(f"{changeable}.") for changeable in _CHANGEABLE_KEYS)


def _key_of(argument: str) -> str:
    return argument.lstrip("+~").partition("=")[0]
