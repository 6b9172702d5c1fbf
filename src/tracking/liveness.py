"""Heartbeats of running runs, and what becomes of runs whose processes end without reporting.

A run gives two signs of life: a tag in the store, for other machines, and a file, for this one and
those that share the folder of runs. The time of the file is set by the file system that keeps it,
so whoever looks there needs no clock that agrees with this one.

A process that ended without reporting (SIGKILL, out of memory, a power failure) is noticed when the
store is next opened. On the machine of the run we see whether its process still exists. From
elsewhere a run counts as dead once its last sign of life is older than `_MAX_MISSED_BEATS` of its
intervals: by the time of the file where the folder is shared, else by the tag. The time in the tag
is that of the other machine, so clocks must agree within a few minutes. A run that was closed too
early says so at its next heartbeat and becomes RUNNING again.

The status of a dead run is KILLED. If it had several ranks it is FAILED, as it is when any other of
its ranks ends.
"""

import contextlib
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from src.core.failures import OomKillCount
from src.core.printing import print_line
from src.core.processes import identify_machine, is_process_alive

if TYPE_CHECKING:
    from mlflow import MlflowClient

HEARTBEAT_SECONDS = 60.0
_MAX_MISSED_BEATS = 5
# the tag with the number of ranks of a run, whose record is written by the first
RANKS_TAG = "ranks"
# the beginning of the reason of a run that was found dead
VANISHED_REASON = "the process vanished without a word"
KILLED_REASON = f"{VANISHED_REASON}: killed (kill -9), out of memory, or the power failed"
_OUT_OF_MEMORY_REASON = (
    f"{VANISHED_REASON}: very likely killed by the system because memory had run out"
)


def heartbeat_path(runs_folder: Path, run_id: str) -> Path:
    return runs_folder / "alive" / run_id


class Heartbeat:
    """Gives a sign of life every `HEARTBEAT_SECONDS` while it is entered; leaving it deletes the
    file.

    A run that another machine has closed (as it does if the store cannot be reached for minutes)
    becomes RUNNING again at its next heartbeat.

    Args:
        set_tag: writes a tag of the run; it may reach the store later.
        client: asked for the status of the run; None if there is no store.
    """

    def __init__(
        self,
        run_id: str,
        runs_folder: Path,
        set_tag: Callable[[str, object], None],
        client: "MlflowClient | None",
    ) -> None:
        self._run_id = run_id
        self._path = heartbeat_path(runs_folder, run_id)
        self._set_tag = set_tag
        self._client = client
        self._stop_event = threading.Event()
        self._thread = threading.Thread(target=self._beat_loop, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        kills = OomKillCount.read_current()
        # if the disk is full, the tag alone gives signs of life
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps({"kills": kills}), encoding="utf-8")
        self._write_tag()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        # the thread may be waiting for a store that does not answer
        self._thread.join(5.0)
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _beat_loop(self) -> None:
        while not self._stop_event.wait(HEARTBEAT_SECONDS):
            self.send_heartbeat()

    def send_heartbeat(self) -> None:
        """Give one sign of life. Failures of the disk or the store are not raised."""
        with contextlib.suppress(OSError):
            self._path.touch()
        self._write_tag()
        if self._client is not None:
            # also whatever a database driver raises: this must never end a training
            with contextlib.suppress(Exception):
                self._restore_running_status(self._client)

    def _write_tag(self) -> None:
        self._set_tag("heartbeat", f"{time.time():.0f} every {HEARTBEAT_SECONDS:.0f} s")

    def _restore_running_status(self, client: "MlflowClient") -> None:
        run: Any = client.get_run(self._run_id)
        was_found_dead = run.data.tags.get("failure.reason", "").startswith(VANISHED_REASON)
        if run.info.status == "RUNNING" or not was_found_dead or self._stop_event.is_set():
            return
        client.update_run(self._run_id, status="RUNNING")
        client.delete_tag(self._run_id, "failure.reason")
        print_line("tracking: this run was taken for dead; it is RUNNING again", to_stderr=True)


class Liveness(NamedTuple):
    """The state of a run's process, as far as it can be seen from here."""

    is_alive: bool
    # seconds since 1970; None if it never gave a sign of life
    last_seen_at: float | None
    # how that is known
    explanation: str


def check_liveness(run_id: str, tags: Mapping[str, str], runs_folder: Path) -> Liveness:
    """Say whether the process of a run whose status is RUNNING still exists.

    A process of which nothing is known counts as alive.

    Args:
        tags: the run's tags, of which `process`, `heartbeat` and `local_id` are read.
    """
    process = tags.get("process", "").split()
    beat = re.fullmatch(r"(\d+) every (\d+) s", tags.get("heartbeat", ""))
    # a run that began offline has kept its file under its first id
    file = heartbeat_path(runs_folder, tags.get("local_id", run_id))
    touched_at = file.stat().st_mtime if file.exists() else None
    signs = [touched_at, float(beat[1]) if beat else None]
    last = max((sign for sign in signs if sign is not None), default=None)
    machine = identify_machine()
    if len(process) == 5 and tuple(process[:3]) == machine:
        is_alive = is_process_alive(int(process[3]), process[4])
        return Liveness(is_alive, last, f"process {process[3]} on this machine")
    has_other_boot = len(process) == 5 and process[0] == machine[0] and process[1] != machine[1]
    # a sign of life since this machine was started comes from another one with the same name
    if has_other_boot and (last is None or last < psutil.boot_time()):
        return Liveness(False, last, "this machine was started again since")
    if beat is None or last is None:
        return Liveness(
            True, last, "a process of another machine or container, which gives no signs of life"
        )
    clock_folder = file.parent if last == touched_at else Path(tempfile.gettempdir())
    age = _read_file_system_time(clock_folder) - last
    host = process[0] if process else "an unknown machine"
    return Liveness(
        age <= _MAX_MISSED_BEATS * float(beat[2]),
        last,
        f"last heard of {max(0.0, age):.0f} s ago from {host}",
    )


def close_vanished_runs(client: "MlflowClient", experiment_id: str, runs_folder: Path) -> list[str]:
    """Set the final status of every RUNNING run whose process is gone; return the ids of these."""
    closed: list[str] = []
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        run_id, tags = run.info.run_id, run.data.tags
        liveness = check_liveness(run_id, tags, runs_folder)
        if liveness.is_alive:
            continue
        file = heartbeat_path(runs_folder, tags.get("local_id", run_id))
        status, reason = "KILLED", _find_vanished_reason(file)
        if (ranks := tags.get(RANKS_TAG, "1")) != "1":
            status, reason = "FAILED", f"{reason} (rank 0 of {ranks})"
        client.set_tag(run_id, "failure.reason", reason)
        client.set_terminated(run_id, status, _last_sign_milliseconds(run, liveness.last_seen_at))
        file.unlink(missing_ok=True)
        closed.append(run_id)
        print_line(
            f"tracking: run {run_id} ({run.info.run_name}) is now {status}: "
            f"{reason} ({liveness.explanation})"
        )
    return closed


def _read_file_system_time(folder: Path) -> float:
    """Return the present time by the clock of the file system that keeps a folder."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b".")
        file.flush()
        return os.fstat(file.fileno()).st_mtime


def _find_vanished_reason(file: Path) -> str:
    """Return why a process is gone, as far as can be known.

    Args:
        file: its heartbeat file, which holds how many processes the system had killed for lack of
            memory when it began.
    """
    try:
        kills = json.loads(file.read_text(encoding="utf-8"))["kills"]
        if kills is not None and OomKillCount(*kills).count_new_kills():
            return _OUT_OF_MEMORY_REASON
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return KILLED_REASON


def _last_sign_milliseconds(run: Any, last_seen_at: float | None) -> int:
    """Return when a run last gave a sign of life: a heartbeat, a metric, a line of its console, or
    its start; in milliseconds since 1970.
    """
    console = Path(run.info.artifact_uri) / "console.log"
    signs = [run.info.start_time, *(metric.timestamp for metric in run.data._metric_objs)]
    if last_seen_at is not None:
        signs.append(int(last_seen_at * 1000))
    if console.exists():
        signs.append(int(console.stat().st_mtime * 1000))
    return int(max(signs))
