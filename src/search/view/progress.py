"""The progress of a sweep on the terminal: a table that is redrawn, or plain lines.

Lines say what has happened to the trials since the last look, one line for each event.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from src.core.formatting import format_duration, format_number, format_params, format_quantity
from src.core.printing import print_line
from src.search.trials import (
    ENDED_STATUSES,
    BudgetLimit,
    TrialRecord,
    TrialStatus,
    format_metric_values,
    format_status_counts,
    select_best_trials,
    trial_elapsed_seconds,
    values_to_minimize,
)

if TYPE_CHECKING:
    from src.search.view.progress_table import LiveTable

# between two drawings of the table while no trial changes its state; each takes some 15 ms
_REDRAW_SECONDS = 1.0


class ProgressDisplay:
    """Shows how the trials of a sweep stand while it is entered.

    On a terminal this is a table, drawn below whatever else is printed, and once more at the end.
    Elsewhere one line is printed for each event. There is no thread, so `update_trials` must be
    called about twice a second. Errors of the display never end a sweep: a terminal on which the
    table cannot be drawn gets lines, and a closed one nothing.

    Args:
        monitors, modes: the metrics, and `min` or `max` for each. Lines about a running trial
            show the first one.
        keys: the parameters of the search space.
        name: of the sweep.
    """

    def __init__(
        self, monitors: Sequence[str], modes: Sequence[str], keys: Sequence[str], *, name: str = ""
    ) -> None:
        self._monitors, self._modes, self._keys = list(monitors), list(modes), list(keys)
        self._name = name
        self._events = TrialEventLog(monitors, modes, keys)
        self._table: LiveTable | None = None
        self._trials: Sequence[TrialRecord] = ()
        self._steps: Mapping[int, tuple[int, int]] = {}
        self._limits: Sequence[BudgetLimit] = ()
        self._drawn_states: dict[int, TrialStatus] = {}
        self._drawn_at = 0.0
        # by trial, the first optimizer step that was seen in this process, and when
        self._first_steps: dict[int, tuple[int, float]] = {}

    def __enter__(self) -> "ProgressDisplay":
        if _is_terminal(sys.stdout):
            from src.search.view.progress_table import LiveTable

            self._table = LiveTable(filter(_is_terminal, (sys.stdout, sys.stderr)))
            self._table.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._draw_table()
        if self._table is not None:
            self._table.__exit__()
            self._table = None

    def update_trials(
        self,
        trials: Sequence[TrialRecord],
        steps: Mapping[int, tuple[int, int]],
        limits: Sequence[BudgetLimit] | None = None,
    ) -> None:
        """Show how the trials stand.

        Args:
            trials: all of them. Those that have ended before the first call share one line.
            steps: of running trials, the optimizer step and the number of steps, which is 0 or
                less if unknown.
            limits: the budget; None leaves it as it was.
        """
        now = time.time()
        self._trials, self._steps = trials, steps
        self._limits = self._limits if limits is None else limits
        for number, (step, _) in steps.items():
            # a smaller step than before: the trial has been started again
            if step < self._first_steps.get(number, (step, now))[0]:
                del self._first_steps[number]
            self._first_steps.setdefault(number, (step, now))
        for event in self._events.describe_changes(trials):
            # the table does not say why a trial has failed
            if self._table is None or event.is_failure:
                print_line(event.text)
        states = {trial.number: trial.state for trial in trials}
        if states != self._drawn_states or not 0 <= now - self._drawn_at < _REDRAW_SECONDS:
            self._drawn_states, self._drawn_at = states, now
            self._draw_table()

    def print_line(self, text: str) -> None:
        """Print a line, above the table where there is one."""
        print_line(text)
        self._draw_table()

    def estimate_seconds_left(self, now: float) -> dict[int, float]:
        """The seconds that running trials still take at the pace seen so far, by trial."""
        seconds = {}
        for number, (step, total) in self._steps.items():
            first_step, seen_at = self._first_steps[number]
            if total > 0 and step > first_step and now > seen_at:
                seconds_per_step = (now - seen_at) / (step - first_step)
                seconds[number] = max(total - step, 0) * seconds_per_step
        return seconds

    def _draw_table(self) -> None:
        if self._table is None:
            return
        try:
            from src.search.view.progress_table import TrialTable

            now = time.time()
            self._table.draw(
                TrialTable(
                    trials=self._trials,
                    monitors=self._monitors,
                    modes=self._modes,
                    keys=self._keys,
                    name=self._name,
                    steps=self._steps,
                    seconds_left=self.estimate_seconds_left(now),
                    limits=self._limits,
                    now=now,
                )
            )
        except Exception as error:
            # whatever has failed, the sweep goes on
            table, self._table = self._table, None
            table.__exit__()
            print_line(
                f"the table cannot be drawn ({type(error).__name__}: {error}): plain lines from "
                "here on"
            )


class TrialEvent(NamedTuple):
    """Something that has happened to a trial, as one line that can be read alone."""

    text: str
    is_failure: bool = False


class TrialEventLog:
    """Compares all trials with the last look at them, so trials of other processes are seen too."""

    def __init__(self, monitors: Sequence[str], modes: Sequence[str], keys: Sequence[str]) -> None:
        self._monitors, self._modes, self._keys = list(monitors), list(modes), list(keys)
        self._previous: dict[int, TrialRecord] | None = None

    def describe_changes(self, trials: Sequence[TrialRecord]) -> list[TrialEvent]:
        """The events since the last call.

        Trials that have ended before the first call are summed up in one event.
        """
        before, self._previous = self._previous, {trial.number: trial for trial in trials}
        events = []
        if before is None:
            before = {trial.number: trial for trial in trials if trial.state != "running"}
            ended = [t for t in trials if t.state in ENDED_STATUSES and not t.is_replaced]
            if ended:
                count, states = format_quantity(len(ended), "trial"), format_status_counts(ended)
                best = self._format_best(ended)
                text = f"{count} there already: {states}{f'; {best}' if best else ''}"
                events.append(TrialEvent(text))
        # a trial is compared with those that had finished when it ended
        finished = [trial for trial in before.values() if trial.state == "finished"]
        for trial in sorted(
            trials, key=lambda t: (t.ended_at is None, t.ended_at or 0.0, t.number)
        ):
            old = before.get(trial.number)
            if old is None or old.state not in ENDED_STATUSES:
                events += self._describe_trial(trial, old, finished)
                if trial.state == "finished":
                    finished.append(trial)
        return events

    def _describe_trial(
        self, trial: TrialRecord, old: TrialRecord | None, finished: Sequence[TrialRecord]
    ) -> list[TrialEvent]:
        """The events of one trial since it was `old`."""
        texts = []
        seen = max(old.intermediate_values, default=0) if old is not None else 0
        if trial.state != "waiting" and (old is None or old.state == "waiting"):
            retry_of = trial.attributes.get("retry_of")
            begins = "begins" if retry_of is None else f"begins (trial {retry_of} once more)"
            begins = f"goes on after validation {seen}" if seen else begins
            texts.append(f"{begins}: {format_params(trial.params, self._keys)}".rstrip(": "))
        for validation, value in sorted(trial.intermediate_values.items()):
            if validation > seen:
                compared = self._compare_with_best(value, finished)
                texts.append(
                    f"validation {validation}: {self._monitors[0]} {format_number(value)}{compared}"
                )
        if old is not None and old.state == "running" and trial.state in ("running", "waiting"):
            failures = [int(t.attributes.get("out_of_memory") or 0) for t in (old, trial)]
            if failures[1] > failures[0]:
                texts.append("ran out of memory: it is run again in smaller micro-batches")
            elif trial.attributes.get("non_finite") and not old.attributes.get("non_finite"):
                texts.append("met a loss that is not finite in bf16: it is run again in fp32")
            elif trial.state == "waiting":
                count = format_quantity(len(trial.intermediate_values), "validation")
                after = f" after {count}" if trial.intermediate_values else ""
                texts.append(f"was interrupted{after}: it waits to go on")
        events = [TrialEvent(f"trial {trial.number} {text}") for text in texts]
        if trial.state in ENDED_STATUSES:
            text = f"trial {trial.number} {self._describe_end(trial, finished)}"
            events.append(TrialEvent(text, is_failure=trial.state == "failed"))
        return events

    def _describe_end(self, trial: TrialRecord, finished: Sequence[TrialRecord]) -> str:
        reason = str(trial.attributes.get("reason") or "").strip()
        reason = reason.splitlines()[0] if reason else ""
        values = format_metric_values(trial, self._monitors)
        if trial.state == "failed":
            return f"FAILED: {reason or 'no reason is known'}"
        if trial.state == "pruned":
            count = format_quantity(len(trial.intermediate_values), "validation")
            return reason or f"pruned after {count}: {values}".rstrip(": ")
        seconds = trial_elapsed_seconds(trial)
        duration = f"; {format_duration(seconds)}" if seconds is not None else ""
        text = f"finished: {values}".rstrip(": ")
        if values_to_minimize(trial, self._modes) is None:
            return f"{text}{duration}"
        others = [*finished, trial]
        if trial in select_best_trials(others, self._modes):
            rank = "the best" if len(self._modes) == 1 else "on the Pareto front,"
            return f"{text}, {rank} of {len(others)} so far{duration}"
        best = self._format_best(finished)
        return f"{text}{duration}{f' ({best})' if best else ''}"

    def _compare_with_best(self, value: float, finished: Sequence[TrialRecord]) -> str:
        best = select_best_trials(finished, self._modes)
        if len(self._modes) > 1 or not best or not best[0].values:
            return ""
        reached = best[0].values[0]
        is_better = value < reached if self._modes[0] == "min" else value > reached
        words = "better than the best so far" if is_better else "best so far"
        return f" ({words}: trial {best[0].number}, {format_number(reached)})"

    def _format_best(self, finished: Sequence[TrialRecord]) -> str:
        best = select_best_trials(finished, self._modes)
        if not best or not best[0].values:
            return ""
        if len(self._modes) > 1:
            return f"{format_quantity(len(best), 'trial')} on the Pareto front"
        return f"best so far: trial {best[0].number}, {format_number(best[0].values[0])}"


def _is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal with a cursor that can be moved."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    except (AttributeError, ValueError):
        return False
