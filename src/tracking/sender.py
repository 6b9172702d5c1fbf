"""Metrics on their way to the store: the training loop appends to a list, a thread of its own does the writing."""

import math
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

_MANY = 500  # points that are not kept waiting for the clock
_MOST = 50_000  # points held in memory (about 10 MB) while a store is out of reach
_LAST_SECONDS = 5.0  # of trying again when a run ends


class Point(NamedTuple):
    """One measured value; `when` in milliseconds since 1970."""

    key: str
    value: float
    step: int
    when: int


class Sender:
    """Writes points in the order they came, at most `flush_seconds` after they came; never raises, never blocks.

    Points that `write` refuses are tried again, ever more slowly; what cannot be written is handed to `give_up`.
    `non_finite` names the first step at which a key was not a finite number: MLflow shows infinities as 1.8e308.
    """

    def __init__(
        self, write: Callable[[list[Point]], None], give_up: Callable[[list[Point]], None], flush_seconds: float
    ) -> None:
        self._write = write
        self._give_up = give_up
        self._flush_seconds = flush_seconds
        self._points: list[Point] = []
        self._changed = threading.Condition()
        self._closing = False
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self.non_finite: dict[str, str] = {}
        self._thread.start()

    def put(self, values: dict[str, float], step: int) -> None:
        """Take values measured at `step`. Costs microseconds."""
        when = int(time.time() * 1000)
        points = [Point(key, float(value), step, when) for key, value in values.items()]
        with self._changed:
            quiet = not self._points
            self._points += points
            if quiet or len(self._points) >= _MANY:
                self._changed.notify()

    def close(self) -> None:
        """Write what is left; returns when all of it is in the store or given up."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            points, closing = self._wait()
            rest = self._send(points)
            if closing:
                deadline = time.monotonic() + _LAST_SECONDS
                while rest and time.monotonic() < deadline:
                    time.sleep(0.5)
                    rest = self._send(rest)
                if rest:
                    self._give_up(rest)
                return
            if len(rest) > _MOST:
                self._give_up(rest)
                rest = []
            with self._changed:
                self._points = rest + self._points

    def _wait(self) -> tuple[list[Point], bool]:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._points)
            if self._failures:
                pause = min(60.0, max(0.5, self._flush_seconds) * 2**self._failures)
                self._changed.wait_for(lambda: self._closing, timeout=pause)
            else:
                self._changed.wait_for(lambda: self._closing or len(self._points) >= _MANY, timeout=self._flush_seconds)
            points, self._points = self._points, []
            return points, self._closing

    def _send(self, points: list[Point]) -> list[Point]:
        """Write points; returns those that were not written."""
        for point in points:
            if not math.isfinite(point.value):
                self.non_finite.setdefault(point.key, f"{point.value} at step {point.step}")
        try:
            if points:
                self._write(points)
        except Exception as error:  # whatever it is, training goes on
            if not self._failures:
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                print(f"tracking: metrics cannot be written now and are tried again ({reason})", file=sys.stderr)
            self._failures += 1
            return points
        self._failures = 0
        return []
