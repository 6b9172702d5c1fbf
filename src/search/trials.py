"""Trials of a sweep as plain values, and what can be said of all of them at one moment: which are
the best, how many there are of each status, how much of the budget is left.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from src.core.formatting import ParamValue, format_count, format_number

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TrialStatus = Literal["waiting", "running", "finished", "pruned", "failed"]
_STATUS_BY_OPTUNA_STATE: dict[str, TrialStatus] = {
    "WAITING": "waiting",
    "RUNNING": "running",
    "COMPLETE": "finished",
    "PRUNED": "pruned",
    "FAIL": "failed",
}


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Args:
        number: in its sweep, from 0; never given twice.
        state: `waiting` if it was interrupted or repeats a failed one, and has not been claimed.
        params: by key of the space. The value of a choice is the text that would be typed for it.
        values: of a finished trial, one for each monitored metric; of a pruned one, its newest one.
        intermediate_values: the reports of the first monitored metric by validation (1, 2, ...).
        attributes: whatever else was kept with it: run_id, owner, worker, reason, point, retry_of,
            halvings, steps, tokens.
        started_at, ended_at: seconds since 1970.
    """

    number: int
    state: TrialStatus
    params: dict[str, ParamValue]
    values: tuple[float, ...] | None = None
    intermediate_values: dict[int, float] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    started_at: float | None = None
    ended_at: float | None = None

    @classmethod
    def from_optuna(cls, trial: "FrozenTrial", replaced_by: int | None = None) -> "TrialRecord":
        """The record of an Optuna trial.

        Args:
            replaced_by: the number of the trial that repeats this one, if it has failed.
        """
        # Optuna cannot delete an attribute, so an empty text stands for a deleted one.
        attributes = {key: value for key, value in trial.user_attrs.items() if value != ""}
        if replaced_by is not None:
            attributes["replaced_by"] = replaced_by
        started, ended = trial.datetime_start, trial.datetime_complete
        return cls(
            number=trial.number,
            state=_STATUS_BY_OPTUNA_STATE[trial.state.name],
            params=dict(trial.params),
            values=tuple(trial.values) if trial.values else None,
            intermediate_values=dict(sorted(trial.intermediate_values.items())),
            attributes=attributes,
            started_at=None if started is None else started.timestamp(),
            ended_at=None if ended is None else ended.timestamp(),
        )

    @property
    def last_report(self) -> float | None:
        """The first monitored metric at the last validation."""
        if not self.intermediate_values:
            return None
        return self.intermediate_values[max(self.intermediate_values)]

    @property
    def latest_value(self) -> float | None:
        """What a finished trial counts with, which is its value at the best validation; of any
        other trial the value at the last one.
        """
        if self.state == "finished" and self.values:
            return self.values[0]
        return self.last_report

    def describe_choice(self, monitor: str) -> str:
        """Which validation the shown value of a metric is from: `best` or `last`; empty for what no
        validation measures, and where there is no value.
        """
        if self.latest_value is None or not monitor.startswith("val/"):
            return ""
        return "best" if self.state == "finished" and self.values else "last"

    @property
    def has_begun(self) -> bool:
        """Whether a process has ever claimed the trial; it may have been interrupted since."""
        return self.state != "waiting" or self.started_at is not None

    @property
    def is_replaced(self) -> bool:
        """Whether a failed trial was begun again under another number."""
        return "replaced_by" in self.attributes


_STATUS_ORDER: tuple[TrialStatus, ...] = ("finished", "pruned", "failed", "running", "waiting")
ENDED_STATUSES: frozenset[TrialStatus] = frozenset({"finished", "pruned", "failed"})


class BudgetLimit(NamedTuple):
    """One limit of the budget of a sweep, and how much of it is used.

    Of trials, those are used that have ended and were not replaced.
    """

    unit: Literal["trials", "hours", "tokens"]
    used: float
    total: float

    def __str__(self) -> str:
        if self.unit == "hours":
            return f"{self.used:.2g} of {self.total:.3g} h"
        return f"{format_count(self.used)} of {format_count(self.total)} {self.unit}"


@dataclass(frozen=True, kw_only=True)
class SweepSnapshot:
    """A sweep at one moment: everything that its report shows.

    Args:
        sweep: its id, which is that of its run.
        reason: why it has ended as it did, unless it has simply finished.
        command: the command line that began it.
        resume_command: the command that goes on with it; None where nothing is left to do.
        run_url: the page of its run.
        trial_urls: by trial number, the page of the trial's run.
        taken_at: seconds since 1970.
    """

    sweep: str
    name: str
    state: Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
    rows: Sequence[TrialRecord]
    keys: Sequence[str]
    monitors: Sequence[str]
    modes: Sequence[str]
    taken_at: float
    reason: str | None = None
    command: str = ""
    resume_command: str | None = None
    limits: Sequence[BudgetLimit] = ()
    run_url: str = ""
    trial_urls: Mapping[int, str] = field(default_factory=dict)


def values_to_minimize(trial: TrialRecord, modes: Sequence[str]) -> tuple[float, ...] | None:
    """The values of a finished trial with their signs such that lower is better.

    None for any other trial, and where a value is not finite.
    """
    if trial.state != "finished" or trial.values is None or len(trial.values) < len(modes):
        return None
    values = [
        -value if mode == "max" else value for value, mode in zip(trial.values, modes, strict=False)
    ]
    return tuple(values) if all(map(math.isfinite, values)) else None


def select_best_trials(trials: Iterable[TrialRecord], modes: Sequence[str]) -> list[TrialRecord]:
    """Of one metric the best finished trial, the earliest of equals; of several the Pareto front in
    the order of the first metric.
    """
    scored = sorted(
        (score, trial.number, trial)
        for trial in trials
        if (score := values_to_minimize(trial, modes)) is not None
    )
    if len(modes) == 1:
        return [trial for _, _, trial in scored[:1]]
    front: list[tuple[tuple[float, ...], TrialRecord]] = []
    # In this order no later trial dominates an earlier one.
    for score, _, trial in scored:
        if not any(
            other != score and all(a <= b for a, b in zip(other, score, strict=True))
            for other, _ in front
        ):
            front.append((score, trial))
    return [trial for _, trial in front]


def rank_trials(trials: Iterable[TrialRecord], modes: Sequence[str]) -> list[TrialRecord]:
    """All finished trials, the best first. Of several metrics the Pareto front comes first; both
    parts are in the order of the first metric.
    """
    trials = list(trials)
    front = {trial.number for trial in select_best_trials(trials, modes)}
    scored = [
        (trial.number not in front, score, trial.number, trial)
        for trial in trials
        if (score := values_to_minimize(trial, modes)) is not None
    ]
    return [trial for *_, trial in sorted(scored, key=lambda entry: entry[:3])]


def count_by_status(trials: Iterable[TrialRecord]) -> dict[TrialStatus, int]:
    """How many trials have each status, without failed ones that were begun again under another
    number.
    """
    states = [trial.state for trial in trials if not trial.is_replaced]
    return {status: count for status in _STATUS_ORDER if (count := states.count(status))}


def format_status_counts(trials: Iterable[TrialRecord]) -> str:
    """`8 finished, 2 pruned, 1 running`."""
    counts = count_by_status(trials).items()
    return ", ".join(f"{count:,} {status}" for status, count in counts) or "no trial yet"


def format_metric_values(trial: TrialRecord, monitors: Sequence[str], digits: int = 3) -> str:
    """`val/loss 0.498, test/accuracy 0.91`; the newest value of a trial that has not finished."""
    if trial.state == "finished" and trial.values:
        values = trial.values
    else:
        values = () if trial.latest_value is None else (trial.latest_value,)
    return ", ".join(
        f"{name} {format_number(value, digits)}"
        for name, value in zip(monitors, values, strict=False)
    )


def trial_elapsed_seconds(trial: TrialRecord, now: float | None = None) -> float | None:
    """Seconds from a trial's start to its end, or to `now`; None where one of them is unknown."""
    end = trial.ended_at if trial.ended_at is not None else now
    if trial.started_at is None or end is None:
        return None
    return max(end - trial.started_at, 0.0)


def estimate_remaining_seconds(
    trials: Sequence[TrialRecord], limits: Iterable[BudgetLimit], now: float
) -> float | None:
    """Seconds until the budget is used up, if the trials to come are like those that have ended and
    as many run at a time as now; None while nothing is known of them.
    """
    ended = [trial for trial in trials if trial.state in ("finished", "pruned")]
    durations = [
        seconds for trial in ended if (seconds := trial_elapsed_seconds(trial)) is not None
    ]
    running = [
        trial_elapsed_seconds(trial, now) or 0.0 for trial in trials if trial.state == "running"
    ]
    estimates = []
    for unit, used, total in limits:
        if unit == "hours":
            estimates.append((total - used) * 3600)
            continue
        if not durations:
            continue
        remaining_trials, mean_seconds = total - used, sum(durations) / len(durations)
        if unit == "tokens":
            tokens = [
                trial.attributes["tokens"] for trial in ended if trial.attributes.get("tokens")
            ]
            if not tokens:
                continue
            remaining_trials *= len(tokens) / sum(tokens)
        at_a_time = max(1, min(len(running), math.ceil(remaining_trials)))
        done_seconds = sum(min(seconds, mean_seconds) for seconds in running)
        estimates.append((remaining_trials * mean_seconds - done_seconds) / at_a_time)
    return max(min(estimates), 0.0) if estimates else None
