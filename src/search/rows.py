"""What is known of one trial of a sweep, in plain values: what the other files of this room hand to each other."""

from dataclasses import dataclass, field
from typing import Any, Literal

Value = str | int | float
State = Literal["waiting", "running", "finished", "pruned", "failed"]


@dataclass(frozen=True)
class Row:
    """One trial.

    Args:
        number: in its sweep, from 0; never given twice.
        params: by key of the space. A choice's value is the text that would be typed for it.
        values: of a finished trial, one for each monitored metric; of a pruned one, the last of its reports.
        reports: by validation (1, 2, ...), the first monitored metric.
        about: whatever else was written down: run_id, owner, worker, reason, point, retry_of, halvings, steps, tokens.
        started_at, ended_at: seconds since 1970.
    """

    number: int
    state: State
    params: dict[str, Value]
    values: tuple[float, ...] | None = None
    reports: dict[int, float] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    started_at: float | None = None
    ended_at: float | None = None

    @property
    def last(self) -> float | None:
        """The newest value of the first monitored metric that is known."""
        if self.state == "finished" and self.values:
            return self.values[0]
        return self.reports[max(self.reports)] if self.reports else None

    @property
    def replaced(self) -> bool:
        """Whether a failed trial was begun again under another number."""
        return "replaced_by" in self.about
