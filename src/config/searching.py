"""Everything that is wrong with a search, found before its first trial."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.config.changes import leaves
from src.config.choices import at
from src.config.rules import better, quantities
from src.config.sweeps import Typed, searched
from src.search.plan import Search
from src.search.space import Space, read
from src.terms.fault import Faults, suggestion

EMPTY = (
    "-m makes several runs, and nothing varies: expected listed values, as model.optim.lr=1e-5,2e-5, or a search, as "
    "search=learning_rate"
)
# What every trial reports beside the quantities of its objective.
OF_ALL = ("train/loss", "train/tokens_per_second", "train/step_seconds", "system/peak_memory_gigabytes")


def listed(config: DictConfig) -> dict[str, Any]:
    """The space of a composed config's search, by key; nothing where it has none."""
    node = OmegaConf.to_container(config, resolve=False)
    space = at(node, "search.space")
    return dict(leaves("", space)) if isinstance(space, Mapping) else {}


def search_mistakes(
    config: DictConfig, typed: Sequence[str], trials: Sequence[Mapping[str, Any]], *, may_be_empty: bool
) -> list[str]:
    """What is wrong with a search.

    Args:
        config: composed, with the first value of every key that varies.
        typed: the overrides that can be read and have values.
        trials: the same config as plain values, and with each other value of a key that varies.
        may_be_empty: whether it is no mistake that nothing varies.
    """
    faults: list[str] = []
    space: Space | None = None
    search: Search | None = None
    try:
        space, _ = read(typed, listed(config))
    except Faults as found:
        faults += found.faults
    try:
        search = searched(config)
    except Faults as found:
        faults += found.faults
    if space is not None and not space.dimensions:
        faults += [] if may_be_empty else [EMPTY]
    elif space is not None and search is not None:
        faults += search.sampler.refusals(space, len(search.monitors)) or _cut_off(search, space)
    if search is not None:
        faults += _monitors(search, trials)
    return faults


def _cut_off(search: Search, space: Space) -> list[str]:
    """A grid that would lack some of its points has holes that nobody chose."""
    if search.sampler.draws or search.max_trials is None or space.size is None or search.max_trials >= space.size:
        return []
    return [
        f"search.max_trials={search.max_trials} is less than the {space.size} trials of the grid; "
        "search/sampler=random takes some of them by chance"
    ]


def whole_numbers(messages: Sequence[str], drawn: Sequence[Typed]) -> list[str]:
    """What was found wrong with the ends of intervals, where it is that any number between them is drawn."""
    found = list(messages)
    for each in drawn:
        refused = [message for message in found if message.startswith(f"{each.key}: expected a whole number")]
        if isinstance(each.low, float) and refused:
            low, high = (f"{end:g}" for end in (each.low, each.high))
            told = f"{each.line}: {each.key} is a whole number; int(interval({low},{high})) draws such"
            found = [told if message == refused[0] else message for message in found if message not in refused[1:]]
    return found


def _monitors(search: Search, trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Metrics that no trial reports, or not all do, and directions in which they become worse."""
    faults: list[str] = []
    reported = [each for each in map(quantities, trials) if each is not None]
    for monitor, mode in zip(search.monitors, search.modes, strict=True):
        reporting = [_reports(monitor, each) for each in reported]
        if not any(reporting) and reported:
            faults.append(f"search.monitor={monitor}: no trial reports it; {_hint(monitor, reported[0])}")
        elif not all(reporting):
            common = [f"val/{each}" for each in reported[0] if all(each in other for other in reported)]
            faults.append(
                f"search.monitor={monitor}: not every trial reports it, since their objectives differ; "
                f"all report {', '.join(common)}"
            )
        elif (right := better(monitor)) not in (None, mode):
            what = "less" if right == "min" else "more"
            faults.append(f"search.mode={mode}, but of search.monitor={monitor} {what} is better; mode={right} fits")
    return [each.replace("; mode=", "; search.mode=") if len(search.modes) == 1 else each for each in faults]


def _reports(monitor: str, measured: Sequence[str]) -> bool:
    stage, _, name = monitor.partition("/")
    return monitor in OF_ALL or (stage == "val" and name in measured) or (stage == "test" and bool(name))


def _hint(monitor: str, measured: Sequence[str]) -> str:
    stage, slash, _ = monitor.partition("/")
    if slash and stage != "val":
        return suggestion(monitor, [*(f"val/{each}" for each in measured), *OF_ALL])
    return re.sub(rf"\b({'|'.join(measured)})\b", r"val/\1", suggestion(monitor.rpartition("/")[2], measured))
