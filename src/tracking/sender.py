"""What a run writes, on its way to the disk: the training loop appends to a list, a thread writes the journal.

What a SIGKILL costs is what was put in the last half second; what a power failure costs, the last five seconds. Nothing
of either that was put before `persist()`.
"""

import math
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from src.tracking.outbox import Outbox

_WRITE_SECONDS, _SYNC_SECONDS = 0.5, 5.0
_MOST = 200_000  # entries held in memory (about 200 MB) while the disk is full


class Sender:
    """Puts entries into an outbox in the order they came; never raises, never waits.

    `floors` are the last steps, by key, that the store has: of a key at or before its floor nothing is written again,
    so a run that goes on from a checkpoint repeats nothing. `non_finite` names the first step at which a key was not a
    finite number: MLflow shows infinities as 1.8e308.
    """

    def __init__(self, outbox: Outbox, *, floors: Mapping[str, int] | None = None) -> None:
        self._outbox = outbox
        self._floors = dict(floors or {})
        self._last: dict[str, int] = {}
        self._waiting: list[dict[str, Any]] = []
        self._writing = threading.RLock()  # a signal handler may put while its own thread persists
        self._ended = threading.Event()
        self._synced_at = time.monotonic()
        self._unsynced = False
        self._failed = False
        self.non_finite: dict[str, str] = {}
        self.latest: dict[str, float] = {}  # by key, the newest value
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def put(self, values: Mapping[str, float], step: int) -> None:
        """Take values measured at `step`. Costs microseconds."""
        plain = {key: value if type(value) is float else float(value) for key, value in values.items()}
        self.latest.update(plain)
        if self._floors:
            plain = {key: value for key, value in plain.items() if step > self._floors.get(key, -1)}
        if plain:
            self._last.update(dict.fromkeys(plain, step))
            self._waiting.append({"kind": "points", "step": step, "when": int(time.time() * 1000), "values": plain})

    def write(self, kind: str, content: Mapping[str, Any]) -> None:
        """Take any other write."""
        self._waiting.append({"kind": kind, **content})

    def repeated(self) -> None:
        """From here on steps come again: of each key, those that it has had are not written twice."""
        for key, step in self._last.items():
            self._floors[key] = max(step, self._floors.get(key, -1))

    def persist(self) -> None:
        """Return when everything put so far is on the disk, as far as the disk takes it."""
        self._journal(sync=True)

    def close(self) -> None:
        """The journal is complete: its last line says so."""
        self._ended.set()
        self._thread.join()
        self._journal(sync=False)
        try:
            self._outbox.close()
        except OSError as error:
            self._complain(error)

    def _run(self) -> None:
        while not self._ended.wait(_WRITE_SECONDS):
            self._journal(sync=time.monotonic() - self._synced_at > _SYNC_SECONDS)

    def _journal(self, *, sync: bool) -> None:
        with self._writing:
            count = len(self._waiting)
            entries = self._waiting[:count]
            try:
                if entries:
                    self._outbox.append([self._checked(entry) for entry in entries])
                    del self._waiting[:count]
                    self._unsynced = True
                if sync and self._unsynced:
                    self._outbox.sync()
                    self._unsynced = False
                    self._synced_at = time.monotonic()
                self._failed = False
            except (OSError, ValueError) as error:
                self._complain(error)
                if len(self._waiting) > _MOST:
                    print(f"tracking: {len(self._waiting) // 2} writes lost: the disk takes none", file=sys.stderr)
                    del self._waiting[: len(self._waiting) // 2]

    def _checked(self, entry: dict[str, Any]) -> dict[str, Any]:
        if entry["kind"] == "points":
            for key, value in entry["values"].items():
                if not math.isfinite(value):
                    self.non_finite.setdefault(key, f"{value} at step {entry['step']}")
        return entry

    def _complain(self, error: BaseException) -> None:
        if not self._failed:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            print(f"tracking: the journal in {self._outbox.folder} cannot be written now ({reason})", file=sys.stderr)
        self._failed = True
