"""Sweeps as commands, from outside: begun, watched, killed, and looked at in their storage and in
MLflow.
"""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.setting import ROOT
from src.search.sweep_study import SweepStorage
from src.search.trials import TrialRecord

# A training on generated text as small as one gets, without what a sweep's own costs could hide
# behind.
SMALL = (
    "+experiment=quickstart_scratch",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
    "trainer.precision=fp32",
    "data.source.train=400",
    "data.source.validation=40",
    "data.source.test=40",
    "tracking.system_metrics=false",
)


# On one thread, which other work beside it slows least.
STEADY = (
    "trainer.accelerator=cpu",
    "trainer.threads=1",
    "tracking.system_metrics=false",
    "callbacks.progress.style=off",
)


def command(root: Path, *words: str, sweep: bool = True, task: Sequence[str] = SMALL) -> list[str]:
    flags = ["-m"] if sweep else []
    places = (f"tracking.root={root}", f"data.cache={root}/.cache")
    return [sys.executable, "-m", "src.run", *flags, *task, *places, *words]


def run(root: Path, *words: str, sweep: bool = True, task: Sequence[str] = SMALL) -> float:
    """One command to its end; the seconds that it took."""
    began = time.monotonic()
    done = subprocess.run(
        command(root, *words, sweep=sweep, task=task), cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(
            f"exit code {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
    return time.monotonic() - began


def start(root: Path, *words: str) -> subprocess.Popen[bytes]:
    """A sweep in the background, its output in a file of the root's."""
    root.mkdir(parents=True, exist_ok=True)
    # the process keeps it open
    with open(root / "said.log", "ab") as log:
        return subprocess.Popen(command(root, *words), cwd=ROOT, stdout=log, stderr=log)


def finish(process: subprocess.Popen[bytes], root: Path, seconds: float = 900) -> None:
    """Wait for a sweep that must end well."""
    if process.wait(seconds):
        raise RuntimeError(
            f"exit code {process.returncode}:\n{(root / 'said.log').read_text()[-5000:]}"
        )


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """SIGKILL to the sweep's process alone, after so long; False where it had ended before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def trials(root: Path) -> list[TrialRecord]:
    """Every trial of the newest sweep, as it stands in the storage; none where there is no sweep
    yet.
    """
    if not (root / "mlruns" / "search.db").exists():
        return []
    storage = SweepStorage(None, root / "mlruns")
    try:
        known = storage.list_studies()
        return storage.open_study(known[0][0]).load_trials() if known else []
    finally:
        storage.close()


def sweeps(root: Path) -> int:
    return len(SweepStorage(None, root / "mlruns").list_studies())


def runs(root: Path) -> list[tuple[str, str, dict[str, str]]]:
    """Id, status and tags of every run in the store."""
    with sqlite3.connect(root / "mlruns" / "mlflow.db") as base:
        return [
            (
                run_id,
                status,
                dict(base.execute("SELECT key, value FROM tags WHERE run_uuid = ?", [run_id])),
            )
            for run_id, status in base.execute(
                "SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'"
            )
        ]


def resident(process: int) -> int:
    """Bytes of memory of a sweep's process and of the one that it keeps warm: what could grow from
    trial to trial.
    """
    whole = psutil.Process(process)
    kept = [
        whole,
        *(
            each
            for each in whole.children()
            if "multiprocessing.forkserver" in " ".join(each.cmdline())
        ),
    ]
    return sum(each.memory_info().rss for each in kept)


def moments(count: int, longest: float, seed: int) -> list[float]:
    """When to kill, in seconds after the start: any moment of a sweep as long as that."""
    chosen = random.Random(seed)
    return [chosen.uniform(0.5, longest) for _ in range(count)]
