"""Trainings by the product itself, in a process and on a thread of their own, and the processor
seconds that they take.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.material import Unavailable
from benchmarks.recorded_runs import RecordedRun, RecordedRuns
from benchmarks.setting import ROOT
from src.config.command_line import parse_key_values
from src.core.user_errors import UserError

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


class Contest(NamedTuple):
    """Contestants that a benchmark trains on tasks, with several seeds.

    Attributes:
        benchmark: its name.
        only, seeds: those of a call that names none, with commas between.
        result: the key of the number that is printed of each training.
        locate: looks for what a task needs; raises Unavailable where it is not there.
        train: the row of a training by task, contestant and seed, with its store in a folder.
        write_page: writes the page of all rows and gives the exit code.
    """

    benchmark: str
    tasks: Collection[str]
    contestants: Collection[str]
    only: str
    seeds: str
    result: str
    locate: Callable[[str], object]
    train: Callable[[str, str, int, str], dict[str, Any]]
    write_page: Callable[[Sequence[RecordedRun]], int]


def hold_contest(contest: Contest, runs: RecordedRuns, arguments: Sequence[str]) -> int:
    """Make the trainings that a command line asks for and that are not recorded, or all of them
    `again=true`, each in a process of its own, and write the page; or, in such a process, make that
    one.

    Returns:
        The exit code: that of the page, or 2 for a mistake, which is told before any training.
    """
    if arguments[:1] == ["train"]:
        task, name, alone, root = arguments[1:]
        print(json.dumps(contest.train(task, name, int(alone), root)))
        return 0
    try:
        task, names, seeds, again = _read_arguments(contest, arguments)
    except (UserError, Unavailable) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    for seed in seeds:
        for name in names:
            if again or not runs.has(task, name, seed):
                row = train_apart(contest.benchmark, task, name, str(seed))
                runs.add(row)
                result, seconds = row[contest.result], row["train_seconds"]
                print(f"{task} {name} {seed}: {result:.4f}, {seconds:.0f} s", flush=True)
    return contest.write_page(runs.read())


def _read_arguments(
    contest: Contest, arguments: Sequence[str]
) -> tuple[str, list[str], list[int], bool]:
    """Task, contestants, seeds, and whether also what is recorded is trained. Raises UserError for
    a mistake, and Unavailable where what the task needs is not there.
    """
    options = {"only": contest.only, "seeds": contest.seeds, "again": "false"}
    asked = parse_key_values(arguments[1:], options)
    names = asked["only"].split(",")
    tasks, contestants = tuple(contest.tasks), tuple(contest.contestants)
    if not arguments or arguments[0] not in tasks or set(names) - set(contestants):
        raise UserError(f"a task is one of {tasks}, a contestant of {contestants}")
    task, typed = arguments[0], asked["seeds"].split(",")
    if not all(seed.isdecimal() for seed in typed):
        raise UserError(key="seeds", value=asked["seeds"], expected="whole numbers, as 1,2,3")
    seeds = [*map(int, typed)]
    contest.locate(task)
    return task, names, seeds, asked["again"] == "true"


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
