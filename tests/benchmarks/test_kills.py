"""`kill -9` and `resume=`, in a small version of the benchmark: its own process, which forks runs
and kills them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kills import PARTS, Run, differences, main, table
from src.core.user_errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_killed_twice_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    command = ["count=1", "cold=0", "trainings=fine-tuning", "control=false", f"folder={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills", *command, "parts=checkpoint writing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the same to the last bit\n") == 1
    assert "1 of 1 runs ended with the very weights" in (tmp_path / "kills.md").read_text()


def test_an_unknown_training() -> None:
    with pytest.raises(
        UserError,
        match="trainings=finetuning: there is no such training; did you mean 'fine-tuning'",
    ):
        main(["trainings=finetuning"])


class Ended(Run):
    """A run whose end is made up."""

    values: tuple[tuple[str, int, float], ...] = (
        ("train/loss", 2, 0.5),
        ("train/step_seconds", 2, 0.1),
    )
    weight = b"1"

    def status(self) -> str:
        return "FINISHED"

    def points(self) -> list[tuple[str, int, float]]:
        return list(self.values)

    def weights(self) -> bytes:
        return self.weight

    def checkpoints(self) -> list[str]:
        return ["step=2.ckpt"]


def ended(tmp_path: Path, name: str = "kill-00") -> Ended:
    return Ended("pretraining", name, tmp_path, tmp_path / "log")


def test_what_counts_as_a_difference(tmp_path: Path) -> None:
    run, reference = ended(tmp_path), ended(tmp_path)
    assert differences(run, reference) == []
    run.values = (("train/loss", 2, 0.5), ("train/step_seconds", 2, 0.7))
    assert differences(run, reference) == []
    run.values = (*reference.values, ("train/loss", 2, 0.5))
    assert differences(run, reference) == ["points lost: [], doubled: [('train/loss', 2)]"]
    run.values = (("train/loss", 2, 0.4), ("train/step_seconds", 2, 0.1))
    run.weight = b"2"
    assert differences(run, reference) == [
        "the weights differ",
        "other values: [('train/loss', 2)]",
    ]


def test_the_table_counts_by_the_first_moment(tmp_path: Path) -> None:
    runs = [ended(tmp_path, f"kill-{number}") for number in range(3)]
    runs[0].moments, runs[1].moments, runs[2].moments = (
        [PARTS[3]],
        [PARTS[3], PARTS[0]],
        ["cold command, after 3.0 s"],
    )
    lines = table(runs, {"kill-0": [], "kill-1": ["the weights differ"], "kill-2": []})
    assert lines[2:] == ["| steps | 2 | 1 | 0 | 1 of 2 |", "| cold command | 1 | 0 | 0 | 1 of 1 |"]
