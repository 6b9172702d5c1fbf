"""How much of a sweep's budget (trials, hours, tokens) is used."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from src.search.trials import ENDED_STATUSES, BudgetLimit, TrialRecord

if TYPE_CHECKING:
    from src.search.search_config import Search
    from src.search.space import SearchSpace


def measure_budget(
    search: "Search", space: "SearchSpace", trials: Sequence[TrialRecord], seconds: float
) -> tuple[BudgetLimit, ...]:
    """Each limit of the sweep, and how much of it is used.

    Args:
        seconds: wall time in which the sweep has been worked at.
    """
    limits = []
    if (max_trials := resolve_max_trials(search, space)) is not None:
        ended = sum(t.state in ENDED_STATUSES and not t.is_replaced for t in trials)
        limits.append(BudgetLimit("trials", ended, max_trials))
    if search.max_hours is not None:
        limits.append(BudgetLimit("hours", seconds / 3600, search.max_hours))
    if search.max_tokens is not None:
        limits.append(BudgetLimit("tokens", count_trained_tokens(trials), search.max_tokens))
    return tuple(limits)


def resolve_max_trials(search: "Search", space: "SearchSpace") -> int | None:
    """The largest number of trials; None where only time or tokens end the sweep."""
    grid_size = None if search.sampler.is_unbounded else space.grid_size
    limits = [limit for limit in (search.max_trials, grid_size) if limit is not None]
    return min(limits, default=None)


def count_trained_tokens(trials: Sequence[TrialRecord]) -> int:
    """The tokens that all trials together have trained on."""
    return sum(int(trial.attributes.get("tokens", 0)) for trial in trials)


def is_budget_exhausted(search: "Search", trials: Sequence[TrialRecord], seconds: float) -> bool:
    """Say whether hours or tokens are used up; the study keeps the budget of trials."""
    return (search.max_hours is not None and seconds >= search.max_hours * 3600) or (
        search.max_tokens is not None and count_trained_tokens(trials) >= search.max_tokens
    )
