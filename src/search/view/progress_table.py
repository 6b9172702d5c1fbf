"""A table of a sweep's trials at the end of a terminal's output, which is redrawn in place."""

import codecs
import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live_render import LiveRender
from rich.table import Table
from rich.text import Text

from src.core.formatting import (
    MISSING_VALUE_TEXT,
    format_duration,
    format_number,
    format_params,
    format_quantity,
    format_value,
    shorten_keys,
)
from src.search.trials import (
    BudgetLimit,
    TrialRecord,
    estimate_remaining_seconds,
    format_metric_values,
    format_status_counts,
    rank_trials,
    select_best_trials,
    trial_elapsed_seconds,
)

_STYLES = {"finished": "", "pruned": "dim", "failed": "red", "running": "cyan", "waiting": "dim"}
# trials that are shown of the best, and of those that ended last, where not all find room
_MAX_BEST, _MAX_RECENT = 5, 3
# columns of a terminal from which the table shows all metrics and parameters, or step and time
_WIDE_COLUMNS, _NARROW_COLUMNS = 84, 56
# parameters with columns of their own
_MAX_KEY_COLUMNS = 5
# rows of the table at most, also where a terminal claims to be higher
_MAX_ROWS = 500
_ASCII_LETTERS = {"–": "-", "…": "~", "★": "*"}


@dataclass(frozen=True, kw_only=True)
class TrialTable:
    """A heading, then one row for each trial, as many rows and columns as there is room for.

    Args:
        name: of the sweep.
        steps: of running trials, the optimizer step and the number of steps, 0 if unknown.
        seconds_left: of running trials, as far as it can be estimated.
        now: seconds since 1970.
    """

    trials: Sequence[TrialRecord]
    monitors: Sequence[str]
    modes: Sequence[str]
    keys: Sequence[str]
    name: str
    steps: Mapping[int, tuple[int, int]]
    seconds_left: Mapping[int, float]
    limits: Sequence[BudgetLimit]
    now: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        heading = self._format_heading(options.max_width)
        heading[0].stylize("bold", 0, len(self.name))
        yield from heading
        # one row is taken by the names of the columns
        room = options.size.height - len(heading) - 1
        shown, hidden = select_visible_trials(self.trials, self.modes, max(room, 1))
        if shown:
            yield self._build_table(shown, options.max_width)
        if hidden:
            more = f"and {format_quantity(hidden, 'more trial')}"
            yield Text(more, style="dim", no_wrap=True, overflow="ellipsis")

    def _format_heading(self, width: int) -> list[Text]:
        """Lines of whole facts: where there is no room for one behind the others, it begins the
        next line.
        """
        parts = [self.name, *map(str, self.limits), format_status_counts(self.trials)]
        best = select_best_trials(self.trials, self.modes)
        if len(self.modes) > 1 and best:
            parts.append(f"{format_quantity(len(best), 'trial')} on the Pareto front")
        elif best:
            values = format_metric_values(best[0], self.monitors)
            parts.append(f"best: trial {best[0].number}, {values}")
        seconds = estimate_remaining_seconds(self.trials, self.limits, self.now)
        if seconds is not None and any(trial.state == "running" for trial in self.trials):
            parts.append(f"about {format_duration(seconds)} left")
        lines = [""]
        for part in filter(None, parts):
            joined = f"{lines[-1]} | {part}" if lines[-1] else part
            if lines[-1] and cell_len(joined) > width:
                lines.append(part)
            else:
                lines[-1] = joined
        return [_one_line(line) for line in lines]

    def _build_table(self, trials: Sequence[TrialRecord], width: int) -> Table:
        is_wide, is_narrow = width >= _WIDE_COLUMNS, width < _NARROW_COLUMNS
        has_key_columns = is_wide and len(self.keys) <= _MAX_KEY_COLUMNS
        monitors = self.monitors if is_wide else self.monitors[:1]
        names = shorten_keys(self.keys)
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        table.add_column("trial", justify="right", no_wrap=True)
        # these alone give way where there is little room
        for name in names.values() if has_key_columns else ["parameters"]:
            table.add_column(_one_line(name), min_width=6)
        for monitor in monitors:
            head = monitor.rpartition("/")[2] if is_narrow else monitor
            table.add_column(_one_line(head), justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True)
        if not is_narrow:
            table.add_column("step", justify="right", no_wrap=True)
            table.add_column("time", justify="right", no_wrap=True)
        best = {trial.number for trial in select_best_trials(self.trials, self.modes)}
        for trial in trials:
            is_best = trial.number in best
            params = (
                [format_value(trial.params[k]) if k in trial.params else "" for k in self.keys]
                if has_key_columns
                else [format_params(trial.params, self.keys)]
            )
            values: Sequence[float | None] = (trial.latest_value,)
            if trial.state == "finished" and trial.values:
                values = trial.values
            metrics = [
                self._format_metric(trial, monitor, values[index : index + 1], is_narrow=is_narrow)
                for index, monitor in enumerate(monitors)
            ]
            cells = [str(trial.number), *params, *metrics, f"{trial.state}{' ★' * is_best}"]
            if not is_narrow:
                cells += [self._format_step(trial), self._format_time(trial)]
            style = "bold green" if is_best else _STYLES[trial.state]
            table.add_row(*map(_one_line, cells), style=style)
        return table

    def _format_metric(
        self,
        trial: TrialRecord,
        monitor: str,
        known: Sequence[float | None],
        *,
        is_narrow: bool,
    ) -> str:
        """A value, and whether it is that of the best or the last validation; `known` is empty
        where there is none.
        """
        if not known:
            return MISSING_VALUE_TEXT
        choice = "" if is_narrow else trial.describe_choice(monitor)
        return f"{format_number(known[0])} {choice}".rstrip()

    def _format_step(self, trial: TrialRecord) -> str:
        if trial.state == "running" and trial.number in self.steps:
            step, total = self.steps[trial.number]
            return f"{step}/{total}" if total > 0 else str(step)
        return str(trial.attributes.get("steps") or "")

    def _format_time(self, trial: TrialRecord) -> str:
        """The time that a running trial still takes, or that another one took."""
        if trial.number in self.seconds_left and trial.state == "running":
            return f"{format_duration(self.seconds_left[trial.number])} left"
        if trial.state == "running":
            return format_duration(trial_elapsed_seconds(trial, self.now))
        return format_duration(trial_elapsed_seconds(trial)) if trial.ended_at is not None else ""


def select_visible_trials(
    trials: Sequence[TrialRecord], modes: Sequence[str], max_rows: int
) -> tuple[list[TrialRecord], int]:
    """The started trials that find room, by number, and how many others there are.

    Where there are too many, the best, the running and the latest ones are chosen.
    """
    started = [trial for trial in trials if trial.state != "waiting" and not trial.is_replaced]
    if len(started) <= max_rows:
        return sorted(started, key=lambda trial: trial.number), 0
    # the last row says how many more there are
    max_rows = max(max_rows - 1, 1)
    running = [trial for trial in started if trial.state == "running"]
    ended = [trial for trial in started if trial.state != "running"]
    latest = sorted(ended, key=lambda trial: (trial.ended_at or 0.0, trial.number), reverse=True)
    best = rank_trials(ended, modes)[:_MAX_BEST]
    by_priority = [*best[:1], *running[: max(max_rows - 3, 1)], *best, *latest[:_MAX_RECENT]]
    chosen: dict[int, TrialRecord] = {}
    for trial in by_priority:
        if len(chosen) < max_rows:
            chosen.setdefault(trial.number, trial)
    return [chosen[number] for number in sorted(chosen)], len(started) - len(chosen)


def _one_line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _encode_as_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join(_ASCII_LETTERS.get(letter, "?") for letter in letters), error.end


# a handler for `errors=` of terminals that show less than Unicode
codecs.register_error("ascii_table", _encode_as_ascii)


class LiveTable:
    """The last lines of a terminal, replaced by each drawing.

    While it is entered, whatever else Python prints to the terminal appears above the table: the
    `write` methods of stdout and stderr are wrapped and erase the table first. The table itself is
    written to the terminal beside these streams, so that a copy of them, such as a run's
    `console.log`, holds none of it. The cursor is hidden only during a drawing, so the terminal has
    one even if this process is killed.

    `rich.live.Live` would hide the cursor, and replace `sys.stdout`, all the while.

    Args:
        streams: stdout and stderr, as far as they are terminals.
    """

    def __init__(self, streams: Iterable[Any]) -> None:
        self._streams = list(streams)
        # reentrant, as a signal handler may print while its thread is drawing
        self._lock = threading.RLock()
        self._owner_pid = os.getpid()
        self._original_writes: list[tuple[Any, Any]] = []
        self._drawn: LiveRender | None = None
        # the last text that was printed does not end its line
        self._has_open_line = False
        self._console = Console(
            file=os.fdopen(
                os.dup(sys.stdout.fileno()),
                "w",
                encoding=getattr(sys.stdout, "encoding", None) or "utf-8",
                errors="ascii_table",
            ),
            force_terminal=True,
            color_system="standard",
            legacy_windows=False,
        )

    def __enter__(self) -> "LiveTable":
        for stream in self._streams:
            if hasattr(stream, "__dict__"):
                self._wrap_write(stream)
        return self

    def __exit__(self, *_: object) -> None:
        for stream, write in reversed(self._original_writes):
            stream.write = write
        self._original_writes.clear()
        with contextlib.suppress(OSError):
            self._console.file.close()

    def measure_terminal(self) -> tuple[int, int]:
        """Columns and rows that the table may take in the terminal as it is now."""
        columns, rows = os.get_terminal_size(self._console.file.fileno())
        # some terminals begin a new line after the last column, and the cursor takes a row
        return max((columns or 80) - 1, 10), max(min(rows or 24, _MAX_ROWS) - 1, 1)

    def draw(self, table: RenderableType) -> None:
        """Draw `table` in place of the last one, unless someone is in the midst of a line."""
        with self._lock:
            if self._has_open_line:
                return
            sys.stdout.flush()
            self._console.size = self.measure_terminal()
            # the context collects all of it for one write
            with self._console:
                self._console.show_cursor(False)
                try:
                    self._erase()
                    drawn = LiveRender(table, vertical_overflow="crop")
                    self._console.print(drawn)
                    self._console.line()
                    self._drawn = drawn
                finally:
                    self._console.show_cursor(True)

    def _erase(self) -> None:
        if self._drawn is not None:
            self._console.control(self._drawn.restore_cursor())
            self._drawn = None

    def _wrap_write(self, stream: Any) -> None:
        write = stream.write
        self._original_writes.append((stream, write))

        def erase_and_write(text: str) -> Any:
            # a forked process must neither draw nor wait for a lock that nobody will release
            if os.getpid() != self._owner_pid:
                return write(text)
            with self._lock:
                with contextlib.suppress(OSError, ValueError):
                    self._erase()
                if text:
                    self._has_open_line = not text.endswith(("\n", "\r"))
                return write(text)

        stream.write = erase_and_write
