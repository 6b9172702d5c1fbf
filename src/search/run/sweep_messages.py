"""What a sweep prints: its plan, how it ended, and which budget ended it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from src.core.formatting import format_number, format_params, format_quantity
from src.core.printing import print_line
from src.search.budget import is_budget_exhausted, resolve_max_trials
from src.search.replicates import describe_means
from src.search.trials import TrialRecord, format_status_counts

if TYPE_CHECKING:
    from src.search.search_config import Search
    from src.search.space import SearchSpace
    from src.search.sweep_study import SweepStudy
    from src.tracking.store import Store


def print_plan(search: "Search", space: "SearchSpace", base_config: Mapping[str, Any]) -> None:
    """Say what is about to start, before the libraries are imported, which takes seconds."""
    most = resolve_max_trials(search, space)
    count = format_quantity(most, "trial") if most is not None else "trials"
    keys = ", ".join(space.keys)
    print_line(f"{count} of {keys} ({search.sampler.name}); starting", to_stderr=True)
    checkpoint = base_config.get("callbacks", {}).get("checkpoint") or {}
    first = search.monitors[0]
    if checkpoint.get("keep") and checkpoint.get("monitor") not in (None, first):
        print_line(
            f"note: trials compare by {first} at the validation whose checkpoint is best by "
            f"{checkpoint['monitor']} "
            f"(callbacks.checkpoint.monitor), and are pruned by {first} as it comes",
            to_stderr=True,
        )


def format_summary(
    study: "SweepStudy",
    trials: list[TrialRecord],
    state: str,
    *,
    monitors: Sequence[str],
    store: "Store",
) -> str:
    """One line: how many trials of each kind, the mean of repetitions, the best, where to look."""
    parts = [
        f"sweep {study.name} {state}  {format_status_counts(trials)}",
        describe_means(trials, monitors),
        _describe_best(study, monitors),
        f"see: {store.open().describe_ui_page(study.name)}",
    ]
    return "; ".join(filter(None, parts))


def _describe_best(study: "SweepStudy", monitors: Sequence[str]) -> str:
    best = study.load_best_trials()
    if not best:
        return ""
    if len(best) > 1:
        return f"on the front: trials {', '.join(str(trial.number) for trial in best)}"
    trial = best[0]
    pairs = zip(monitors, trial.values or (), strict=False)
    values = "  ".join(f"{monitor} {format_number(value)}" for monitor, value in pairs)
    run_id = str(trial.attributes.get("run_id", ""))[:8]
    return f"best: trial {trial.number}, {values} ({format_params(trial.params)}), run {run_id}"


def describe_exhausted_budget(search: "Search", trials: list[TrialRecord], seconds: float) -> str:
    """Which budget of time or tokens ends the sweep; empty if none does."""
    if not is_budget_exhausted(search, trials, seconds):
        return ""
    if search.max_hours is not None and seconds >= search.max_hours * 3600:
        return f"search.max_hours={search.max_hours:g} is used up"
    return f"search.max_tokens={search.max_tokens} is used up"


def explain_completeness(search: "Search", failed: int, *, is_exhausted: bool) -> str:
    """What can still be done with a sweep that has nothing left to do.

    Args:
        failed: number of failed trials.
        is_exhausted: hours or tokens are used up.
    """
    again = f"search.retry_failed=true runs the {failed} that failed again, " if failed else ""
    limit = "search.max_hours or search.max_tokens" if is_exhausted else "search.max_trials"
    can_extend = is_exhausted or search.sampler.is_unbounded
    more = f"a higher {limit} goes on, " if can_extend else ""
    return f"the same command has been run to its end: {again}{more}sweep=new begins another"


def count_failed(trials: Sequence[TrialRecord]) -> int:
    """The number of failed trials that were not begun again under another number."""
    return sum(trial.state == "failed" and not trial.is_replaced for trial in trials)
