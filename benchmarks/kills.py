"""`kill -9` at random moments of a training: `python -m benchmarks.kills [count=50] [cold=6]
[seed=1] [folder=DIR]`.

Two small trainings (pretraining; fine-tuning with two data workers) are run undisturbed. Then the
same commands are run again, killed by SIGKILL at a moment drawn from one of the parts of a run, and
resumed with `resume=ID`; every third is killed once more on its way. In the end weights and all
metrics must be those of the undisturbed run.

So that it stays affordable, processes are forked from one that has imported the libraries already,
and then do what `python -m src.run` does; `cold` of them are real commands, killed at a moment
drawn from the whole of their time.
"""

import contextlib
import os
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.forking import PARTS, Watch, ending, forked, killed, warm
from benchmarks.setting import RESULTS, ROOT, write
from src.config.command_line import parse_key_values
from src.core.user_errors import UserError, format_suggestion

SMALL = (
    "trainer.accelerator=cpu",
    "trainer.threads=1",
    "trainer.precision=fp32",
    "trainer.log_every_n_steps=2",
    "callbacks.progress.style=off",
    "tracking.system_metrics=false",
    "callbacks.checkpoint.every_steps=3",
)
TRAININGS = {
    "pretraining": (
        "+experiment=mlm_quickstart",
        "data.source.train=1500",
        "data.source.validation=40",
        "data.source.test=40",
        "trainer.max_steps=36",
        "trainer.val_check_steps=8",
        "trainer.accumulate_grad_batches=2",
        "model.encoder.dropout=0.1",
    ),
    "fine-tuning": (
        "+experiment=quickstart_scratch",
        "data.source.train=150",
        "data.source.validation=40",
        "data.source.test=40",
        "data.batching.batch_size=8",
        "data.batching.batch_tokens=256",
        "data.batching.group_by_length=true",
        "data.num_workers=2",
        "trainer.max_epochs=2",
        "model.encoder.dropout=0.1",
        "model.optim.warmup_fraction=0.2",
    ),
}
OPTIONS = {
    "count": "50",
    "cold": "6",
    "seed": "1",
    "trainings": ",".join(TRAININGS),
    "control": "true",
    "parts": ",".join(PARTS),
    "folder": str(RESULTS),
}
# of time and power: never twice the same
MEASURED = re.compile(r"second|memory|energy|joule|watt|mfu|^system/")


class Interval(NamedTuple):
    """One stay of a run in a part of it: which, its how manyth, and for how long."""

    part: int
    turn: int
    seconds: float


@dataclass
class Run:
    """One training through the command, however often it was killed."""

    training: str
    name: str
    root: Path
    log: Path
    # of its kills
    moments: list[str] = field(default_factory=list)
    # killed before there was a run to go on with
    begun_again: bool = False

    def renew(self) -> None:
        """Begin anew, under another name: it had ended before it could be killed."""
        self.name += "b"
        if self.name.endswith("b" * 8):
            raise RuntimeError(
                f"{self.name} ended eight times before it could be "
                f"killed:\n{self.log.read_text()[-3000:]}"
            )
        self.log = self.log.with_name(f"{self.name}.log")

    def command(self) -> list[str]:
        """What begins it, or goes on with it where the store knows it already."""
        places = (f"tracking.root={self.root}",)
        if (known := self.id()) is not None and self.has_config():
            return [f"resume={known}", *places]
        self.begun_again = bool(self.moments)
        return [
            *TRAININGS[self.training],
            *SMALL,
            f"name={self.name}",
            f"data.cache={self.root}/{self.name}",
            *places,
        ]

    def id(self) -> str | None:
        """As the program has printed it, else as the store has it."""
        found = (
            re.findall(r"^run ([0-9a-f]{32}): ", self.log.read_text(), re.MULTILINE)
            if self.log.exists()
            else []
        )
        rows = (
            []
            if found
            else self.rows(
                "select run_uuid from runs where name = ? or name like ?",
                self.name,
                f"{self.name} %",
            )
        )
        return found[-1] if found else rows[-1][0] if rows else None

    def has_config(self) -> bool:
        """Whether it came so far that it can be resumed: its config has reached the disk."""
        held = self._artifacts() / "config.yaml"
        waiting = (self.root / "mlruns" / "outbox" / str(self.id())).glob("*.jsonl")
        return held.exists() or any(
            "config.yaml" in each.read_text(errors="replace") for each in waiting
        )

    def status(self) -> str:
        return str(self.rows("select status from runs where run_uuid = ?", self.id())[0][0])

    def points(self) -> list[tuple[str, int, float]]:
        """Every point of every metric: key, step, value."""
        return sorted(
            self.rows("select key, step, value from metrics where run_uuid = ?", self.id())
        )

    def weights(self) -> bytes:
        return (self._artifacts() / "model" / "model.safetensors").read_bytes()

    def checkpoints(self) -> list[str]:
        return sorted(each.name for each in (self._artifacts() / "checkpoints").glob("*"))

    def _artifacts(self) -> Path:
        rows = self.rows("select artifact_uri from runs where run_uuid = ?", self.id())
        return Path(rows[0][0]) if rows else self.root / "none"

    def rows(self, query: str, *values: Any) -> list[Any]:
        place = self.root / "mlruns" / "mlflow.db"
        if not place.exists():
            return []
        with contextlib.closing(sqlite3.connect(place, timeout=30)) as database:
            try:
                return database.execute(query, values).fetchall()
            except sqlite3.OperationalError:
                # killed while the store was being made
                return []


class Experiment:
    """All runs below one folder, their references first."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.dice = random.Random(seed)
        self.watch = Watch()
        self.references: dict[str, Run] = {}
        self.intervals: dict[str, list[Interval]] = {}
        self.seconds: dict[str, float] = {}

    def refer(self, training: str, *, controlled: bool) -> None:
        """The undisturbed run; `controlled` by a second one, to which it must be the same by every
        measure.
        """
        if controlled:
            control = self.run(training, f"control-{training}")
            self._must_end(control, forked(control.command(), control.log, self.watch))
        run = self.references[training] = self.run(training, f"reference-{training}")
        times = self.root / f"{run.name}.times"
        begun_at = time.monotonic()
        self._must_end(run, forked(run.command(), run.log, self.watch, times))
        self.seconds[training] = time.monotonic() - begun_at
        self.intervals[training] = list(_intervals(times))
        if controlled and (problems := differences(control, run)):
            raise RuntimeError(f"two undisturbed runs of {training} differ: {'; '.join(problems)}")

    def disturb(self, run: Run, number: int, part: int) -> None:
        """Kill a run in a part of it, resume it, every third kill once more, and resume it."""
        stays = [each for each in self.intervals[run.training] if each.part == part]
        chosen = self.dice.choices(stays, [each.seconds for each in stays])[0]
        due = lambda: self.watch.turns(part) >= chosen.turn
        delay = self.dice.random() * chosen.seconds
        while not killed(forked(run.command(), run.log, self.watch), due, delay):
            # the machine is faster than when the reference was run
            delay /= 2
            run.renew()
        run.moments.append(PARTS[self.watch.part])
        if number % 3 == 0:
            child = forked(run.command(), run.log, self.watch)
            if killed(child, lambda: True, self.dice.random() * self.seconds[run.training]):
                run.moments.append(PARTS[self.watch.part])
        self._must_end(run, forked(run.command(), run.log, self.watch))

    def disturb_cold(self, run: Run, longest: float) -> None:
        """The same with real commands, killed at any moment."""
        delay = self.dice.random() * longest
        while True:
            child = self._cold(run)
            # it is waited for elsewhere
            child.returncode = 0
            if killed(child.pid, lambda: True, delay):
                break
            delay /= 2
            run.renew()
        run.moments.append(f"cold command, after {delay:.1f} s")
        child = self._cold(run)
        self._must_end(run, child.pid)
        child.returncode = 0

    def _cold(self, run: Run) -> "subprocess.Popen[bytes]":
        with open(run.log, "a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "src.run", *run.command()], cwd=ROOT, stdout=log, stderr=log
            )

    def run(self, training: str, name: str) -> Run:
        return Run(training, name, self.root, self.root / f"{name}.log")

    def _must_end(self, run: Run, child: int) -> None:
        code = ending(child)
        # killed when all was done
        had_ended = code == 2 and run.moments and run.status() == "FINISHED"
        if code != 0 and not had_ended:
            raise RuntimeError(
                f"{run.name} ({run.moments}) ended with exit code "
                f"{code}:\n{run.log.read_text()[-3000:]}"
            )


def _intervals(times: Path) -> Iterator[Interval]:
    lines = [line.split() for line in times.read_text().splitlines()]
    turns: Counter[int] = Counter()
    for (part, begun_at), (_, ended_at) in pairwise(lines):
        turns[int(part)] += 1
        yield Interval(int(part), turns[int(part)], float(ended_at) - float(begun_at))


def differences(run: Run, reference: Run) -> list[str]:
    """In what a run's end is not that of another; empty where it is the same to the last bit."""
    found = []
    if run.status() != "FINISHED":
        found.append(f"its status is {run.status()}")
    if run.weights() != reference.weights():
        found.append("the weights differ")
    own, theirs = run.points(), reference.points()
    places, other = (
        Counter((key, step) for key, step, _ in own),
        Counter((key, step) for key, step, _ in theirs),
    )
    if places != other:
        found.append(
            f"points lost: {list((other - places).elements())[:5]}, doubled: "
            f"{list((places - other).elements())[:5]}"
        )
    values = {(key, step): value for key, step, value in theirs}
    wrong = [
        (key, step)
        for key, step, value in own
        if value != values.get((key, step)) and not MEASURED.search(key)
    ]
    if wrong:
        found.append(f"other values: {wrong[:5]}")
    if run.checkpoints() != reference.checkpoints():
        found.append(f"checkpoints {run.checkpoints()} instead of {reference.checkpoints()}")
    return found


def table(runs: Sequence[Run], problems: dict[str, list[str]]) -> list[str]:
    """One line for each moment of a first kill."""
    lines = [
        "| killed in | runs | killed again | begun again | the same to the last bit |",
        "| --- | --- | --- | --- | --- |",
    ]
    first = [
        re.sub(r",.*", "", run.moments[0]) if run.moments else "had ended before" for run in runs
    ]
    for moment in dict.fromkeys((*PARTS, *first)):
        some = [run for run, each in zip(runs, first, strict=True) if each == moment]
        if some:
            again, anew = (
                sum(len(run.moments) > 1 for run in some),
                sum(run.begun_again for run in some),
            )
            good = sum(not problems[run.name] for run in some)
            lines.append(f"| {moment} | {len(some)} | {again} | {anew} | {good} of {len(some)} |")
    return lines


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 where every run has ended as if nothing had happened."""
    given = parse_key_values(arguments, OPTIONS)
    count, cold, trainings = int(given["count"]), int(given["cold"]), given["trainings"].split(",")
    parts = [PARTS.index(each) for each in given["parts"].split(",")]
    for each in trainings:
        if each not in TRAININGS:
            raise UserError(
                f"trainings={each}: there is no such training; {format_suggestion(each, TRAININGS)}"
            )
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["RAYON_NUM_THREADS"] = "1"
    warm()
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="kills-") as root:
        experiment = Experiment(Path(root), int(given["seed"]))
        for training in trainings:
            experiment.refer(training, controlled=given["control"] == "true")
        problems: dict[str, list[str]] = {}
        for number in range(count):
            training = trainings[number % len(trainings)]
            run = experiment.run(training, f"kill-{number:02d}")
            runs.append(run)
            try:
                if number < count - cold:
                    experiment.disturb(run, number, parts[(number // len(trainings)) % len(parts)])
                else:
                    experiment.disturb_cold(run, experiment.seconds[training] + 12)
                problems[run.name] = differences(run, experiment.references[training])
            except RuntimeError as error:
                problems[run.name] = [str(error)]
            said = "; ".join(problems[run.name]) or "the same to the last bit"
            print(
                f"{run.name} {training}, killed in {', then '.join(run.moments) or 'nothing'}: "
                f"{said}",
                flush=True,
            )
        points = sum(len(run.points()) for run in runs)
    good = sum(not each for each in problems.values())
    lines = [
        f"{good} of {count} runs ended with the very weights and metrics of the undisturbed run; "
        f"{points} points, each "
        "(key, step) as often as there: once. Metrics of time and power are compared by their "
        "steps alone.",
        "",
        *table(runs, problems),
        "",
        "`begun again`: killed before the store knew of a run, so that the command itself was "
        "typed once more.",
        *(f"- {name}: {'; '.join(each)}" for name, each in problems.items() if each),
    ]
    command = f"python -m benchmarks.kills count={count} cold={cold} seed={given['seed']}"
    write("kills", "kill -9 at random moments, and resumed", command, lines, Path(given["folder"]))
    return 0 if good == count else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as fault:
        sys.exit(f"error: {fault}")
