"""Trials that say they are running, and whether anybody still works at them."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.search.rows import Row
from src.tracking.vanished import is_gone, pulse, this_process

if TYPE_CHECKING:
    from src.search.working import Work

_SILENT_SECONDS = 900.0  # after which a trial of another machine that gives no sign of life is taken for gone
_ENDED_SECONDS = 120.0  # between the end of a run of another machine and that of its trial


def take_back(work: "Work", lost: Callable[[Row], bool]) -> None:
    """Release every running trial of which `lost` says so: asked without the lock, since a store may answer slowly."""
    found = {row.number: _holders(row) for row in work.study.rows() if row.state == "running" and lost(row)}
    if found:
        work.study.release_gone(lambda row: found.get(row.number) == _holders(row))


def _holders(row: Row) -> tuple[Any, ...]:
    return row.about.get("owner"), row.about.get("worker"), row.about.get("takes")


def gone(work: "Work", row: Row) -> bool:
    """Whether nobody works at a running trial any more."""
    processes = [str(row.about.get(name) or "") for name in ("owner", "worker")]
    known = [each for each in processes if each]
    if all(is_gone(each) for each in known):
        return True
    if any(not _elsewhere(each) and not is_gone(each) for each in known):
        return False
    run_id = row.about.get("run_id")  # on another machine, of which only its run tells
    if not run_id:
        return row.started_at is not None and time.time() - row.started_at > _SILENT_SECONDS
    run = work.store.find(str(run_id))
    if run.status == "RUNNING":
        found = pulse(run.id, run.tags, work.store.runs_folder)
        return not found.alive and (found.last is None or time.time() - found.last > _SILENT_SECONDS)
    return run.ended_at is not None and time.time() - run.ended_at / 1000 > _ENDED_SECONDS


def _elsewhere(process: str) -> bool:
    return process.split()[:1] != this_process().split()[:1]


def cause(code: int, log: Path | None) -> str:
    """Why a process has ended that has not said so itself."""
    if code == -signal.SIGKILL:
        words = "killed by SIGKILL (the system does so where memory has run out)"
    elif code < 0:
        words = f"killed by {signal.Signals(-code).name}"
    else:
        words = f"its process ended with exit code {code}"
    return words if log is None else f"{words}; what it said: {log}"
