"""The benchmark of fine-tuning in less time: which rows stand on its page and when a gate is
reached. Nothing is trained.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fast_finetune, fast_page, in_domain, timed_training
from benchmarks.recorded_runs import RecordedRuns


def row(contestant: str, seed: int, accuracy: float, seconds: float, task: str = "imdb") -> dict:
    return {
        "task": task,
        "contestant": contestant,
        "seed": seed,
        "test_accuracy": accuracy,
        "train_seconds": seconds,
        "overrides": ["data.train_share=0.5"],
        "setting": "2026-01-01, commit abc",
    }


def verdict(rows: list[dict[str, Any]], task: str = "imdb") -> bool | None:
    base, line = fast_page.summarise(rows, task)
    return fast_page.is_reached(line, task, base)


DEFAULT = [row("default", seed, 0.92 + seed / 1000, 2000) for seed in (1, 2, 3)]


@pytest.mark.parametrize(
    ("accuracy", "seconds", "reached"),
    [(0.9205, 990, True), (0.9195, 990, False), (0.93, 1010, False)],
)
def test_imdb_asks_for_the_accuracy_in_half_of_the_time(
    accuracy: float, seconds: float, reached: bool
) -> None:
    # the default's mean is 0.922
    rows = DEFAULT + [row("half", seed, accuracy, seconds) for seed in (1, 2, 3)]
    assert verdict(rows) is reached


def test_sst2_asks_for_a_mean_within_the_interval() -> None:
    default = [row("default", seed, 0.887, 200, "sst2") for seed in (1, 2, 3)]
    for accuracy, reached in ((0.875, True), (0.870, False)):
        rows = default + [row("half", seed, accuracy, 100, "sst2") for seed in (1, 2, 3)]
        assert verdict(rows, "sst2") is reached


def test_only_seeds_that_both_have_are_compared() -> None:
    rows = DEFAULT + [row("half", seed, 0.921, 1000) for seed in (1, 9)]
    line = fast_page.summarise(rows, "imdb")[1]
    assert (line.share, line.difference) == (pytest.approx(0.5), pytest.approx(0.0))
    assert verdict(rows) is None, "two seeds are missing"


def test_the_page_has_every_training_and_its_exit_code_the_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = DEFAULT + [row("half", seed, 0.90, 1000) for seed in (1, 2, 3)]
    assert fast_page.write_page(rows, tmp_path) == 1
    page = (tmp_path / "fast_finetune.md").read_text()
    assert "| half | 0.9000 (1), 0.9000 (2), 0.9000 (3) | 0.9000 | -2.20 | 1000 | 0.50 |" in page
    assert "2026-01-01, commit abc" in page
    assert (tmp_path / fast_page.PICTURE).stat().st_size > 0
    assert "| half | half of the rows | `data.train_share=0.5` |" in page
    rows += [row("default", 1, 0.9, 200, "sst2"), row("gone", 1, 0.5, 10)]
    rows += [row("small batches", seed, 0.921, 1000) for seed in (1, 2, 3)]
    assert fast_page.write_page(rows, tmp_path) == 0
    assert "| gone | no longer tried |" in (tmp_path / "fast_finetune.md").read_text()
    capsys.readouterr()


def test_what_has_ended_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[tuple[str, int]] = []

    def train_apart(benchmark: str, task: str, name: str, seed: str) -> dict[str, Any]:
        assert benchmark == "fast_finetune"
        trained.append((name, int(seed)))
        return row(name, int(seed), 0.9, 1000, task)

    runs = RecordedRuns("kept", ("task", "contestant", "seed"), tmp_path)
    monkeypatch.setattr(fast_finetune, "RUNS", runs)
    (tmp_path / "imdb").mkdir()
    monkeypatch.setenv("REAL_DATA", str(tmp_path))
    monkeypatch.setattr(timed_training, "train_apart", train_apart)
    monkeypatch.setattr(fast_finetune, "write_page", lambda rows: 0)
    runs.add(row("gone", 1, 0.5, 10))
    assert fast_finetune.main(["imdb", "only=default", "seeds=1"]) == 0
    assert fast_finetune.main(["imdb", "only=default,half", "seeds=1,2"]) == 0
    assert trained == [("default", 1), ("half", 1), ("default", 2), ("half", 2)]
    kept = [(each["contestant"], each["seed"]) for each in runs.read()]
    assert kept == [("gone", 1), *trained]
    assert fast_finetune.main(["imdb", "only=half", "seeds=1", "again=true"]) == 0
    assert len(runs.read()) == len(kept), "in the place of the one before"
    assert all(json.loads(line.rstrip(",")) for line in _lines(tmp_path / "kept.json"))
    capsys.readouterr()


def _lines(path: Path) -> list[str]:
    """One row a line, so that a diff shows what was added."""
    return path.read_text().splitlines()[1:-1]


@pytest.mark.parametrize("arguments", [[], ["nli"], ["imdb", "only=hlaf"], ["imdb", "seeds=a"]])
def test_what_is_not_known_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert fast_finetune.main(arguments) == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (in_domain.main, ["only=minlm"]),
        (in_domain.main, ["minutes=x"]),
        (in_domain.main, []),
        (fast_finetune.main, ["imdb"]),
    ],
)
def test_so_is_a_call_without_reviews_before_anything_is_trained(
    main: Callable[[list[str]], int],
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("REAL_DATA", raising=False)
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")
