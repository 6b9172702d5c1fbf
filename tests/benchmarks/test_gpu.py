"""The benchmark of a GPU, its own plumbing: what is left out, what fails, what is filed. No timing
is asserted.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_race import RACES, Timed


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path


def contestants(*, broken: str = "") -> dict[str, Any]:
    def made(who: str, seconds: float) -> Any:
        def run(race: Any, device: torch.device, warm_up: int, steps: int) -> Timed:
            if who == broken:
                raise RuntimeError("no kernel\nand more")
            return Timed(seconds, 600, 2**30)

        return run

    return {
        who: made(who, seconds)
        for who, seconds in (("ours", 2.0), ("P2", 6.0), ("P3", 1.5), ("uncompiled", 3.0))
    }


def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were one; everything is still done on the CPU, in small."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "freed", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(gpu, "measure_peak_flops", lambda device, kind: 1e15)
    small = {name: replace(race.tiny(), name=race.name) for name, race in RACES.items()}
    monkeypatch.setattr(gpu, "RACES", small)
    monkeypatch.setattr(gpu, "losses", lambda race, device: (1.0, 1.01))
    monkeypatch.setattr(gpu, "flops_per_token", lambda race: 1e12)


def test_a_tiny_race_runs_for_real_and_files_nothing(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = {name: gpu.CONTESTANTS[name] for name in ("P3",)}
    monkeypatch.setattr(gpu, "CONTESTANTS", real)
    assert gpu.main(["tiny=true", "only=base512_real"]) == 0
    shown = capsys.readouterr().out
    # a packed batch, against padded texts
    assert "Too small to say anything" in shown and "| yes: " in shown
    assert not list(results.iterdir())


def test_one_that_fails_leaves_the_others(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_gpu(monkeypatch)
    monkeypatch.setattr(gpu, "CONTESTANTS", contestants(broken="P2"))
    assert gpu.main(["only=base128", "commit=abc1234"]) == 1
    [row] = [
        line
        for line in (results / "gpu.md").read_text().splitlines()
        if line.startswith("| BERT-base")
    ]
    assert "| 300 | 30% |  | 400 | 200 |  | 0.75 | 1.0 / - / 1.0 | yes: 1.0000, 1.0100 |" in row
    text = (results / "gpu.md").read_text()
    assert (
        "P2 failed: RuntimeError: no kernel\n" in text
        and "commit abc1234" in text
        and "a GPU, CUDA" in text
    )
    assert (
        len(json.loads((results / "gpu.json").read_text())["base128"]["timed"]["ours"])
        == gpu.ROUNDS
    )


def test_races_keep_what_stood_there(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_gpu(monkeypatch)
    monkeypatch.setattr(gpu, "CONTESTANTS", contestants())
    assert gpu.main(["only=base512"]) == 0
    assert gpu.main(["only=base512_real"]) == 0
    text = (results / "gpu.md").read_text()
    assert all(RACES[name].name in text for name in ("base512", "base512_real"))
    assert "Packed real lengths run at 1.00 of the rate of full rows" in text


def test_nothing_is_begun_when_time_is_over(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_gpu(monkeypatch)
    monkeypatch.setattr(gpu, "CONTESTANTS", contestants())
    assert gpu.main(["minutes=0"]) == 1
    assert "ours left out in round 1" in capsys.readouterr().out
    assert not list(results.iterdir())
    allowance = gpu.Allowance(1)
    assert not allowance.is_over
    allowance._slowest = 61.0
    assert allowance.is_over


@pytest.mark.parametrize("typed", ["only=base", "minutes=soon", "quick=true"])
def test_what_is_mistyped_is_named(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([typed]) == 2
    assert capsys.readouterr().err.startswith("error: ")
