"""A sweep on the terminal: a table that lives while trials do, plain lines where nobody could see it."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Literal

from src.search.events import Events
from src.search.rows import Row, State
from src.search.standing import Limit
from src.tracking.redaction import spoken

Style = Literal["auto", "table", "lines"]
_BETWEEN_SECONDS = 1.0  # two drawings of the table where no state has changed: each takes 15 ms
_MOST_ROWS = 500  # of a terminal whose height is unknown or absurd


class Live:
    """Shows what becomes of a sweep's trials while it is entered.

    A table is drawn where stdout is a terminal, beneath whatever is printed meanwhile, and once more at the end. Else
    one line is printed for each thing that happens. There is no thread: it is drawn in `update`, so call that about
    twice a second. Nothing here ends a sweep: a terminal that cannot be drawn on gets lines, a closed one nothing.

    Args:
        monitors, modes: the metrics, the first of which is shown while trials run.
        keys: of the space.
        style: `auto` is a table where stdout is a terminal. `table` elsewhere gives lines all the same.
        name: of the sweep.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        monitors: Sequence[str],
        modes: Sequence[str],
        keys: Sequence[str],
        style: Style = "auto",
        *,
        name: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._monitors, self._modes, self._keys, self._name = list(monitors), list(modes), list(keys), name
        self._events = Events(monitors, modes, keys)
        self._style = style
        self._clock = clock
        self._screen: _Screen | None = None
        self._rows: Sequence[Row] = ()
        self._limits: Sequence[Limit] = ()
        self._states: dict[int, State] = {}
        self._drawn_at = 0.0
        self._began: dict[int, tuple[int, float]] = {}  # by trial: the first optimizer step seen here, and when
        self._steps: Mapping[int, tuple[int, int]] = {}

    def __enter__(self) -> "Live":
        if self._style != "lines" and _draws(sys.stdout):
            self._screen = _Screen()
            self._screen.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._screen is not None:
            self._draw()
            if self._screen is not None:
                self._screen.__exit__()
                self._screen = None

    def update(
        self, rows: Sequence[Row], steps: Mapping[int, tuple[int, int]], limits: Sequence[Limit] | None = None
    ) -> None:
        """Show how the trials stand.

        Args:
            rows: all trials. Those that have ended at the first call are told together, as there before.
            steps: of running trials the optimizer step and how many there will be, 0 or less where nobody knows.
            limits: the budget; None: as it was.
        """
        now = self._clock()
        self._rows, self._steps = rows, steps
        self._limits = self._limits if limits is None else limits
        for number, (step, _) in steps.items():
            if step < self._began.get(number, (step, now))[0]:
                del self._began[number]  # it was begun again
            self._began.setdefault(number, (step, now))
        lines = self._events.since(rows)
        states = {row.number: row.state for row in rows}
        if self._screen is None:
            for line in lines:
                say(spoken(line))
            return
        for line in lines:
            if " FAILED: " in line:
                say(spoken(line))
        if states != self._states or not 0 <= now - self._drawn_at < _BETWEEN_SECONDS:
            self._states, self._drawn_at = states, now
            self._draw()

    def line(self, text: str) -> None:
        """Print a line; above the table where there is one."""
        say(text)
        if self._screen is not None:
            self._draw()

    def left(self, now: float) -> dict[int, float]:
        """By running trial the seconds that it will take, from the pace that was seen here."""
        found = {}
        for number, (step, total) in self._steps.items():
            first, at = self._began[number]
            if total > 0 and step > first and now > at:
                found[number] = max(total - step, 0) * (now - at) / (step - first)
        return found

    def _draw(self) -> None:
        assert self._screen is not None
        try:
            from src.search.table import table

            now = self._clock()
            width, height = self._screen.size()
            self._screen.show(
                table(
                    self._rows,
                    monitors=self._monitors,
                    modes=self._modes,
                    keys=self._keys,
                    name=self._name,
                    steps=self._steps,
                    left=self.left(now),
                    limits=self._limits,
                    now=now,
                    width=width,
                    height=height,
                    fancy=self._screen.fancy,
                )
            )
        except Exception as error:  # no picture of a sweep is worth the sweep
            screen, self._screen = self._screen, None
            screen.__exit__()
            say(f"the table cannot be drawn ({type(error).__name__}: {error}): plain lines from here on")


def _draws(stream: Any) -> bool:
    """Whether a stream is a terminal on which a cursor moves."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    except (AttributeError, ValueError):
        return False


def say(line: str, *, aside: bool = False) -> None:
    """Print a line, `aside` to stderr; nobody may be reading any more (`| head`, a closed terminal)."""
    stream = sys.stderr if aside else sys.stdout
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:  # what else is printed later, by whomever, goes nowhere and ends nothing
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        return


class _Screen:
    """Text that stands beneath all that is printed, and is replaced by the next.

    It goes to the terminal itself, beside the streams, so that a copy of what they print holds none of it. While it is
    entered the streams' `write` is shadowed: it takes the text away first. The cursor is hidden only within one write,
    so however this process ends the terminal has one.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # whoever prints: other threads, and signal handlers in the midst of this one
        self._owner = os.getpid()
        self._shadowed: list[tuple[Any, Any]] = []
        self._lines: list[int] = []  # the widths of the lines that stand there
        self._file: IO[str] | None = None
        self._open_line = False  # whether what was printed last did not end its line
        self.fancy = True  # whether the terminal shows more than ASCII

    def __enter__(self) -> "_Screen":
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        self.fancy = encoding.lower().replace("-", "") == "utf8"
        self._file = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding=encoding, errors="replace")
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "__dict__") and _draws(stream):
                self._shadow(stream)
        return self

    def __exit__(self, *_: object) -> None:
        for stream, write in reversed(self._shadowed):
            stream.write = write
        self._shadowed.clear()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal, as it is now."""
        assert self._file is not None
        columns, rows = os.get_terminal_size(self._file.fileno())
        return columns or 80, min(rows or 24, _MOST_ROWS)

    def show(self, lines: Sequence[tuple[str, int]]) -> None:
        """Draw lines in place of the last ones, each with its width in columns."""
        with self._lock:
            if self._open_line or self._file is None:  # someone is still writing a line, a bar or a question
                return
            text = "".join(f"\x1b[2K{line}\n" for line, _ in lines)
            sys.stdout.flush()
            self._put(f"\x1b[?25l{self._up()}{text}\x1b[J\x1b[?25h")
            self._lines = [width for _, width in lines]

    def _up(self) -> str:
        """Back to the first of the lines. In a terminal that has become narrower each may take several rows."""
        rows = self._rows()
        return f"\x1b[{rows}A\r" if rows else ""

    def _away(self) -> str:
        """Takes the lines away one by one: of a screen cleared as a whole some terminals keep a copy."""
        rows = self._rows()
        clear = "\x1b[2K\x1b[1B" * rows
        return f"{self._up()}{clear}\x1b[{rows}A" if rows else ""

    def _rows(self) -> int:
        columns = self.size()[0] if self._lines else 1
        return sum(max(1, -(-width // columns)) for width in self._lines)

    def _put(self, text: str) -> None:
        assert self._file is not None
        self._file.write(text)
        self._file.flush()

    def _shadow(self, stream: Any) -> None:
        write = stream.write
        self._shadowed.append((stream, write))

        def written(text: str) -> Any:
            if os.getpid() != self._owner:  # a forked process must not wait for a lock that nobody will free
                return write(text)
            with self._lock:
                if self._lines and self._file is not None:
                    with contextlib.suppress(OSError, ValueError):
                        self._put(self._away())
                self._lines = []
                if text:
                    self._open_line = not text.endswith(("\n", "\r"))
                return write(text)

        stream.write = written
