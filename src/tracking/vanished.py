"""Runs whose process is gone without a word (SIGKILL, no memory, no power): noticed when the store is next opened.

On the machine that runs it a process is there or not. From elsewhere a run is dead when its last sign of life is older
than `_MISSED` of its own intervals (src/tracking/heartbeat.py): by the file's time where the folder of runs is shared,
by its tag where only the store is. The tag's time is the other machine's, so clocks must agree within a few minutes; a
run that was judged too early says so and goes on as RUNNING.

Such a run is KILLED. One of several ranks is FAILED, as it is where any other of its ranks dies.
"""

import json
import os
import platform
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from src.terms.world import Kills
from src.tracking.heartbeat import VANISHED, alive_file
from src.tracking.redaction import spoken

if TYPE_CHECKING:
    from mlflow import MlflowClient

RANKS = "ranks"  # the tag that says of how many processes a run is; its record is the first one's
_MISSED = 5
REASON = f"{VANISHED}: killed (kill -9), out of memory, or the power failed"
_NO_MEMORY = f"{VANISHED}: very likely killed by the system because memory had run out"


class Pulse(NamedTuple):
    """Whether a run that says RUNNING lives, when it was last heard of (seconds since 1970), and how that is known."""

    alive: bool
    last: float | None
    words: str


def this_process() -> str:
    """This process among all of all machines: host, boot, process namespace, id and start."""
    return " ".join((*_machine(), str(os.getpid()), f"{psutil.Process().create_time():.2f}"))


def pulse(run_id: str, tags: Mapping[str, str], runs_folder: Path) -> Pulse:
    """Whether the process of a run that says RUNNING is there. What cannot be known counts as alive."""
    process = tags.get("process", "").split()
    run_id = tags.get("local_id", run_id)  # of a run that began with no store at hand
    beat = re.fullmatch(r"(\d+) every (\d+) s", tags.get("heartbeat", ""))
    file = alive_file(runs_folder, run_id)
    touched = file.stat().st_mtime if file.exists() else None
    last = max((each for each in (touched, float(beat[1]) if beat else None) if each is not None), default=None)
    if len(process) == 5 and tuple(process[:3]) == _machine():
        there = _is_there(int(process[3]), process[4])
        return Pulse(there, last, f"process {process[3]} on this machine")
    rebooted = len(process) == 5 and process[0] == _machine()[0] and process[1] != _machine()[1]
    if rebooted and (last is None or last < psutil.boot_time()):  # else it is another machine of the same name
        return Pulse(False, last, "this machine was started again since")
    if beat is None or last is None:
        return Pulse(True, last, "a process of another machine or container, which gives no signs of life")
    now = _time_of(file.parent) if touched is not None and last == touched else _time_of(Path(tempfile.gettempdir()))
    age, most = now - last, _MISSED * float(beat[2])
    where = process[0] if process else "an unknown machine"
    return Pulse(age <= most, last, f"last heard of {max(0.0, age):.0f} s ago from {where}")


def is_gone(process: str) -> bool:
    """Whether a process, as `this_process` names it, has certainly ended; one of elsewhere cannot be seen from here."""
    words = process.split()
    if len(words) != 5 or words[0] != _machine()[0]:
        return False
    if words[1] != _machine()[1]:
        return True  # this machine was started again since
    return words[2] == _machine()[2] and not _is_there(int(words[3]), words[4])


def close_vanished(client: "MlflowClient", experiment_id: str, runs_folder: Path) -> list[str]:
    """KILLED, or FAILED, for every run that says it is running and whose process is gone; the ids of these."""
    closed: list[str] = []
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        found = pulse(run.info.run_id, run.data.tags, runs_folder)
        if found.alive:
            continue
        file = alive_file(runs_folder, run.data.tags.get("local_id", run.info.run_id))
        status, reason = "KILLED", _reason(file)
        if (ranks := run.data.tags.get(RANKS, "1")) != "1":
            status, reason = "FAILED", f"{reason} (rank 0 of {ranks})"
        client.set_tag(run.info.run_id, "failure.reason", reason)
        client.set_terminated(run.info.run_id, status, _last_sign(run, found))
        file.unlink(missing_ok=True)
        closed.append(run.info.run_id)
        name = spoken(run.info.run_name)
        print(f"tracking: run {run.info.run_id} ({name}) is now {status}: {reason} ({found.words})")
    return closed


def _machine() -> tuple[str, str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot, namespace = f"{psutil.boot_time():.0f}", "-"
    return platform.node().replace(" ", "_"), boot, namespace


def _is_there(process: int, started_at: str) -> bool:
    """Whether a process has not ended; a number that was given to another one since does not count."""
    try:
        found = psutil.Process(process)
        return f"{found.create_time():.2f}" == started_at and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _time_of(folder: Path) -> float:
    """What time it is for the file system that keeps a folder."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b".")
        file.flush()
        return os.fstat(file.fileno()).st_mtime


def _reason(file: Path) -> str:
    """Why the process is gone, as far as the system's count of processes that it has ended for memory tells."""
    try:
        kills = json.loads(file.read_text(encoding="utf-8"))["kills"]
        return _NO_MEMORY if kills is not None and Kills(*kills).since() else REASON
    except (OSError, ValueError, KeyError, TypeError):
        return REASON


def _last_sign(run: Any, found: Pulse) -> int:
    """When the run was last heard of, in milliseconds: a beat, a metric, its console's last line, else its start."""
    console = Path(run.info.artifact_uri) / "console.log"
    signs = [run.info.start_time, *(each.timestamp for each in run.data._metric_objs)]
    if found.last is not None:
        signs.append(int(found.last * 1000))
    if console.exists():
        signs.append(int(console.stat().st_mtime * 1000))
    return int(max(signs))
