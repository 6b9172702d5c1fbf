"""Contestants side by side: each is a process of its own, and they take turns, so that all see the
same machine.

A contestant trains through its own program (`benchmarks/contestant.py`) and stops after a turn of
optimizer steps until it is told to go on; only its own processor time within turns counts. Warm-up
turns are not counted. Separate processes keep each one's allocator, threads and caches to itself.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple, TextIO

from benchmarks.setting import ROOT

PAGE_BYTES = resource.getpagesize()


class Turn(NamedTuple):
    """One turn of a contestant: optimizer steps, processor and wall seconds, resident bytes at its
    end.
    """

    steps: int
    cpu_seconds: float
    wall_seconds: float
    resident_bytes: int
    peak_bytes: int
    noted: dict[str, float]


class Clock:
    """A contestant's side: measures between turns, and waits while others have theirs."""

    def __init__(self, commands: TextIO, results: TextIO) -> None:
        self._commands = commands
        self._results = results
        self._left = 0
        self._asked = 0
        self._started = (0.0, 0.0)
        self._paused = (0.0, 0.0)
        self._noted: dict[str, float] = {}

    def begin(self) -> None:
        """Ready for the first step."""
        self._wait()

    def step(self) -> None:
        """An optimizer step is done."""
        self._left -= 1
        if self._left:
            return
        cpu, wall = (now - then for now, then in zip(_now(), self._started, strict=True))
        turn = Turn(self._asked, cpu, wall, resident_bytes(), peak_bytes(), self._noted)
        self._results.write(json.dumps(turn._asdict()) + "\n")
        self._results.flush()
        self._wait()

    def note(self, **values: float) -> None:
        """Say something besides the time, with this turn's result and all later ones."""
        self._noted |= values

    def pause(self) -> None:
        """What follows is nobody's training: it does not count."""
        self._paused = _now()

    def resume(self) -> None:
        cpu, wall = (now - then for now, then in zip(_now(), self._paused, strict=True))
        self._started = (self._started[0] + cpu, self._started[1] + wall)

    def _wait(self) -> None:
        command = self._commands.readline().strip()
        # the race is over; nothing here is worth an orderly end
        if not command:
            os._exit(0)
        self._asked = self._left = int(command)
        self._started = _now()


def _now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def resident_bytes() -> int:
    """Physical memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def peak_bytes() -> int:
    """The most that it ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Contestant:
    """A process that trains in turns.

    Args:
        spec: what it trains and how; plain values for `benchmarks/contestant.py`.
        threads: of torch.
        log: where its output goes.
        root: the checkout that it runs from.
    """

    def __init__(self, spec: dict[str, Any], *, threads: int, log: Path, root: Path = ROOT) -> None:
        self.spec = spec
        self.log = log
        reading, writing = os.pipe()
        count = str(threads)
        environment = os.environ | {
            "OMP_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
            "RAYON_NUM_THREADS": count,
        }
        environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment |= {"PALIMPSEST_ALLOWED_TARGETS": "benchmarks.ours.Turns"}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.contestant",
                    json.dumps(spec),
                    str(writing),
                    count,
                ],
                cwd=root,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[writing],
                text=True,
            )
        os.close(writing)
        self._results = os.fdopen(reading)

    def turn(self, steps: int) -> Turn:
        """Let it do `steps` optimizer steps.

        Raises:
            RuntimeError: it has ended; its last words are in the message.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{steps}\n")
            self._process.stdin.flush()
            line = self._results.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise RuntimeError(
                f"{self.spec['who']} ended with code {self._process.returncode} "
                f"({self.log}):\n{last}"
            )
        return Turn(**json.loads(line))

    def close(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=60)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._results.close()


class Result(NamedTuple):
    """Processor and wall seconds of one step; `turns` as they were."""

    cpu_seconds: float
    wall_seconds: float
    turns: list[Turn]


def race(
    specs: dict[str, dict[str, Any]],
    *,
    steps: dict[str, int],
    warmup: dict[str, int],
    turns: int,
    threads: int,
    logs: Path,
    mixed: bool = False,
    roots: Mapping[str, Path] | None = None,
) -> dict[str, Result]:
    """Each contestant's seconds a step, from turns taken one after the other: A B C, A B C, ...

    Args:
        specs: by name, what each trains.
        steps, warmup: by name, optimizer steps of a turn, and of the one before them that does not
            count.
        turns: that count.
        mixed: steps differ in what they cost, so that turns are averaged; else the median of turns
            is taken.
        roots: by name, the checkout that one runs from, if it is not this one.
    """
    field: dict[str, Contestant] = {}
    try:
        for name, spec in specs.items():
            root = (roots or {}).get(name, ROOT)
            log = logs / f"{name}-{threads}.log"
            field[name] = Contestant(spec, threads=threads, log=log, root=root)
            # one starts after the other has started: two cores hold no more
            field[name].turn(warmup[name])
        seen: dict[str, list[Turn]] = {name: [] for name in specs}
        for _ in range(turns):
            for name, contestant in field.items():
                seen[name].append(contestant.turn(steps[name]))
    finally:
        for contestant in field.values():
            contestant.close()
    return {name: summary(each, mixed=mixed) for name, each in seen.items()}


def summary(turns: Sequence[Turn], *, mixed: bool) -> Result:
    """The mean of turns (of equally many steps) where steps are `mixed`, else their median."""
    middle = mean if mixed else median
    return Result(
        middle(each.cpu_seconds / each.steps for each in turns),
        middle(each.wall_seconds / each.steps for each in turns),
        list(turns),
    )
