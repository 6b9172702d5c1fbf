"""Trainings by the product itself, in a process and on a thread of their own, and the processor
seconds that they take.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.recorded_runs import RecordedRuns
from benchmarks.setting import ROOT

# one thread; on an idle machine `auto` finds bf16 where there are units for it, on a busy one its
# probe may not
ONE_THREAD = (
    "trainer=cpu",
    "trainer.threads=1",
    "trainer.precision=bf16",
    "callbacks.progress.style=off",
)


def train_apart(benchmark: str, *words: str) -> dict[str, Any]:
    """What `python -m benchmarks.NAME train WORDS FOLDER` prints as its last line, as JSON.

    The folder is for the store of the run, and is gone afterwards. Raises RuntimeError where the
    training fails.
    """
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", "train", *words]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as root:
        done = subprocess.run(
            [*command, root],
            cwd=ROOT,
            env={**os.environ, **one_thread},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stdout}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def train_missing(
    benchmark: str,
    runs: RecordedRuns,
    task: str,
    names: Sequence[str],
    seeds: Sequence[int],
    *,
    result: str,
    again: bool = False,
) -> None:
    """Train contestants of a task with each seed, and record them; those that are recorded only
    where they are wanted `again`.

    Args:
        result: the key of the number that is printed of each.
    """
    for seed in seeds:
        for name in names:
            if again or not runs.has(task, name, seed):
                row = train_apart(benchmark, task, name, str(seed))
                runs.add(row)
                seconds = row["train_seconds"]
                print(f"{task} {name} {seed}: {row[result]:.4f}, {seconds:.0f} s", flush=True)


def train_timed(*overrides: str) -> tuple[dict[str, float], float]:
    """The metrics of a run, and the processor seconds of its training."""
    from palimpsest import compose
    from src.pipeline.run import run

    clock = Clock()
    outcome = run(**compose(*overrides), hooks=clock)
    return dict(outcome.metrics), round(clock.seconds, 1)


class Clock:
    """The hooks of a run that count the processor seconds of its training, validations among them,
    in all phases.
    """

    shown_overrides: Sequence[str] | None = None
    parent_run_id: str | None = None
    resume_command: str | None = None
    pruned_reason: str | None = None

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.seconds = 0.0
        self._began = 0.0

    def build(self, folder: Path, hooks: Any = None) -> list[Any]:
        from lightning.pytorch.callbacks import LambdaCallback

        return [LambdaCallback(on_fit_start=self._begin, on_fit_end=self._end)]

    def _begin(self, *_: Any) -> None:
        self._began = time.process_time()

    def _end(self, *_: Any) -> None:
        self.seconds += time.process_time() - self._began

    def on_run_opened(self, record: Any) -> None:
        """Nothing."""

    def on_run_evaluated(self, best_checkpoint: str | None, metrics: Any) -> None:
        """Nothing."""

    def on_run_pruned(self) -> None:
        """Nothing."""
