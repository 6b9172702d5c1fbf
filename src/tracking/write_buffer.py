"""The buffer between the training loop and the disk: the loop appends to a list, and a thread
writes the list to the outbox.

A SIGKILL costs what was added in the last half second, a power failure that of the last five
seconds. Neither costs anything that was added before a call of `flush_to_disk`.
"""

import math
import threading
import time
from collections.abc import Mapping
from typing import Any

from src.core.formatting import shorten_float32
from src.core.printing import print_line
from src.core.retry import describe_error
from src.tracking.mlflow_format import to_mlflow_key
from src.tracking.outbox import Outbox

_WRITE_INTERVAL_SECONDS, _SYNC_INTERVAL_SECONDS = 0.5, 5.0
# entries held in memory (about 200 MB) while the disk is full
_MAX_PENDING_ENTRIES = 200_000


class WriteBuffer:
    """Writes entries to an outbox in the order in which they are added.

    Adding never raises and never waits. The thread starts with `start()`.

    Args:
        last_logged_steps: by metric, the last step that the store has. Values at or before it are
            not written again, so a run that goes on from a checkpoint repeats nothing.

    Attributes:
        first_non_finite: by metric, its first value that is not a finite number, and the step.
            The store holds infinities as NaN.
        latest_values: by metric, the newest value.
    """

    def __init__(
        self, outbox: Outbox, *, last_logged_steps: Mapping[str, int] | None = None
    ) -> None:
        self.first_non_finite: dict[str, str] = {}
        self.latest_values: dict[str, float] = {}
        self._outbox = outbox
        self._last_logged_steps = dict(last_logged_steps or {})
        self._last_steps: dict[str, int] = {}
        self._pending_entries: list[dict[str, Any]] = []
        # reentrant: a signal handler may add an entry while its own thread writes
        self._write_lock = threading.RLock()
        self._stop_event = threading.Event()
        self._synced_at = time.monotonic()
        self._needs_sync = False
        self._has_failed = False
        self._thread = threading.Thread(target=self._write_loop, name="journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Add values measured at a step. Takes microseconds."""
        plain = {
            to_mlflow_key(key): shorten_float32(value if type(value) is float else float(value))
            for key, value in values.items()
        }
        self.latest_values.update(plain)
        if self._last_logged_steps:
            plain = {
                key: value
                for key, value in plain.items()
                if step > self._last_logged_steps.get(key, -1)
            }
        if plain:
            self._last_steps.update(dict.fromkeys(plain, step))
            self._pending_entries.append(
                {"kind": "points", "step": step, "when": int(time.time() * 1000), "values": plain}
            )

    def add_entry(self, kind: str, content: Mapping[str, Any]) -> None:
        """Add an entry of any other kind."""
        self._pending_entries.append({"kind": kind, **content})

    def skip_logged_steps(self) -> None:
        """Training goes back to an earlier step: values recorded so far are not repeated."""
        for key, step in self._last_steps.items():
            self._last_logged_steps[key] = max(step, self._last_logged_steps.get(key, -1))

    def flush_to_disk(self) -> None:
        """Return when all entries are on the disk, unless the disk takes none."""
        self._write_pending_entries(sync=True)

    def close(self) -> None:
        """Write what is left, and the last entry of the journal."""
        self._stop_event.set()
        if self._thread.is_alive():
            self._thread.join()
        self._write_pending_entries(sync=False)
        try:
            self._outbox.close()
        except OSError as error:
            self._warn_once(error)

    def _write_loop(self) -> None:
        while not self._stop_event.wait(_WRITE_INTERVAL_SECONDS):
            self._write_pending_entries(
                sync=time.monotonic() - self._synced_at > _SYNC_INTERVAL_SECONDS
            )

    def _write_pending_entries(self, *, sync: bool) -> None:
        with self._write_lock:
            count = len(self._pending_entries)
            entries = self._pending_entries[:count]
            try:
                if entries:
                    self._note_non_finite(entries)
                    self._outbox.append_entries(entries)
                    del self._pending_entries[:count]
                    self._needs_sync = True
                if sync and self._needs_sync:
                    self._outbox.fsync()
                    self._needs_sync = False
                    self._synced_at = time.monotonic()
                self._has_failed = False
            except (OSError, ValueError) as error:
                self._warn_once(error)
                lost_count = len(self._pending_entries) // 2
                if len(self._pending_entries) > _MAX_PENDING_ENTRIES:
                    print_line(
                        f"tracking: {lost_count} writes lost: the disk takes none", to_stderr=True
                    )
                    del self._pending_entries[:lost_count]

    def _note_non_finite(self, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            if entry["kind"] == "points":
                for key, value in entry["values"].items():
                    if not math.isfinite(value):
                        self.first_non_finite.setdefault(key, f"{value} at step {entry['step']}")

    def _warn_once(self, error: Exception) -> None:
        if not self._has_failed:
            print_line(
                f"tracking: the journal in {self._outbox.folder} cannot be written now "
                f"({describe_error(error)})",
                to_stderr=True,
            )
        self._has_failed = True
