"""How a sweep stands at one moment: which trials lead, how many there are of each kind, how much is left."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from src.search.rows import Row, State
from src.search.words import amount, number

_ORDER: tuple[State, ...] = ("finished", "pruned", "failed", "running", "waiting")
ENDED: frozenset[State] = frozenset({"finished", "pruned", "failed"})


class Limit(NamedTuple):
    """One limit of a sweep's budget, and how much of it is used. `used` of trials are those that ended and count."""

    unit: Literal["trials", "hours", "tokens"]
    used: float
    total: float

    def __str__(self) -> str:
        if self.unit == "hours":
            return f"{self.used:.2g} of {self.total:.3g} h"
        return f"{amount(self.used)} of {amount(self.total)} {self.unit}"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A sweep at one moment, all that its report tells of it.

    Args:
        sweep: its id, which is that of its run.
        reason: why it ended as it did, where that is not plain.
        command: as it was typed.
        go_on: the command that goes on with it; None where nothing is left to do.
        link: the address of its run's page.
        links: by trial number, the address of the trial's run's page.
        at: seconds since 1970.
    """

    sweep: str
    name: str
    state: Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
    rows: Sequence[Row]
    keys: Sequence[str]
    monitors: Sequence[str]
    modes: Sequence[str]
    at: float
    reason: str | None = None
    command: str = ""
    go_on: str | None = None
    limits: Sequence[Limit] = ()
    link: str = ""
    links: Mapping[int, str] = field(default_factory=dict)


def scored(row: Row, modes: Sequence[str]) -> tuple[float, ...] | None:
    """What a finished trial reached, the lower the better; None for any other one, and where a value is no number."""
    if row.state != "finished" or row.values is None or len(row.values) < len(modes):
        return None
    values = [-value if mode == "max" else value for value, mode in zip(row.values, modes, strict=False)]
    return tuple(values) if all(map(math.isfinite, values)) else None


def leading(rows: Iterable[Row], modes: Sequence[str]) -> list[Row]:
    """Of one metric the best finished trial, of several the Pareto front by its first metric; none where none is."""
    scores = sorted((score, row.number, row) for row in rows if (score := scored(row, modes)) is not None)
    if len(modes) == 1:
        return [row for _, _, row in scores[:1]]
    front: list[tuple[tuple[float, ...], Row]] = []
    for score, _, row in scores:  # in this order no later one is better than an earlier one in everything
        if not any(other != score and all(a <= b for a, b in zip(other, score, strict=True)) for other, _ in front):
            front.append((score, row))
    return [row for _, row in front]


def ranked(rows: Iterable[Row], modes: Sequence[str]) -> list[Row]:
    """Every finished trial, the best first; of several metrics the front first, each part by the first metric."""
    rows = list(rows)
    front = {row.number for row in leading(rows, modes)}
    scores = [(row.number not in front, score, row.number, row) for row in rows if (score := scored(row, modes))]
    return [row for *_, row in sorted(scores, key=lambda each: each[:3])]


def counts(rows: Iterable[Row]) -> dict[State, int]:
    """How many trials there are in each state, without failed ones that were begun again under another number."""
    states = [row.state for row in rows if not row.replaced]
    return {state: found for state in _ORDER if (found := states.count(state))}


def census(rows: Iterable[Row]) -> str:
    """`8 finished, 2 pruned, 1 running`."""
    return ", ".join(f"{count:,} {state}" for state, count in counts(rows).items()) or "no trial yet"


def values_of(row: Row, monitors: Sequence[str], digits: int = 3) -> str:
    """`val/loss 0.498, test/accuracy 0.91`."""
    values = row.values if row.state == "finished" and row.values else () if row.last is None else (row.last,)
    return ", ".join(f"{name} {number(value, digits)}" for name, value in zip(monitors, values, strict=False))


def elapsed_seconds(row: Row, now: float | None = None) -> float | None:
    """Between a trial's beginning and its end, or now."""
    end = row.ended_at if row.ended_at is not None else now
    return None if row.started_at is None or end is None else max(end - row.started_at, 0.0)


def left_seconds(rows: Sequence[Row], limits: Iterable[Limit], now: float) -> float | None:
    """How long the budget lasts if the trials to come are like those that ended; None while nobody can know.

    As many go on at a time as run now.
    """
    ended = [row for row in rows if row.state in ("finished", "pruned")]
    spans = [span for row in ended if (span := elapsed_seconds(row)) is not None]
    running = [elapsed_seconds(row, now) or 0.0 for row in rows if row.state == "running"]
    estimates = []
    for unit, used, total in limits:
        if unit == "hours":
            estimates.append((total - used) * 3600)
            continue
        if not spans:
            continue
        trials, mean = total - used, sum(spans) / len(spans)
        if unit == "tokens":
            tokens = [row.about["tokens"] for row in ended if row.about.get("tokens")]
            if not tokens:
                continue
            trials *= len(tokens) / sum(tokens)
        lanes = max(1, min(len(running), math.ceil(trials)))
        estimates.append((trials * mean - sum(min(each, mean) for each in running)) / lanes)
    return max(min(estimates), 0.0) if estimates else None
