"""What a run says of itself, and that it says the first of it before anything heavy is loaded."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from src.core.files import PROJECT_ROOT
from src.core.printing import print_wrapped
from src.core.startup import silence_libraries
from src.core.training_length import TrainingLength
from src.data.batches.length_warmup import LengthWarmup
from src.data.tokenization.special_frame import SpecialFrame
from src.pipeline import announcement
from src.pipeline.announcement import (
    announce_training,
    describe_config,
    describe_size,
)

# torch stands as a module that ends the program where it is imported
_STOP_AT_TORCH = """
import sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "lightning", "transformers", "mlflow", "datasets"):
            print("IMPORTED", name, flush=True)
            import os
            os._exit(0)
sys.meta_path.insert(0, Stop())
sys.argv = ["run", *sys.argv[1:]]
from src.run import run_program
run_program()
"""


def _type_until_torch(folder: Path, *words: str) -> list[str]:
    command = [sys.executable, "-c", _STOP_AT_TORCH, *words]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert not (folder / "mlruns").exists()
    return done.stdout.splitlines()


def test_the_first_lines_come_before_heavy_imports(tmp_path: Path) -> None:
    said = _type_until_torch(tmp_path, "+experiment=imdb", f"tracking.root={tmp_path}")
    text = " ".join(said).replace("   ", " ")
    assert said[0].startswith("imdb: classification, data stanfordnlp/imdb, encoder")
    assert f"store: {tmp_path}/mlruns/mlflow.db" in text
    assert said[-1].startswith("IMPORTED")


def test_a_run_of_which_nothing_was_asked_says_that_it_is_a_demo() -> None:
    said = _type_until_torch(PROJECT_ROOT / "no such folder")
    assert "this is a demo" in said[0]
    assert "python -m src.run data=files data.source.path=FOLDER" in said[1]


def test_a_config_in_words(composed: Callable[..., dict[str, Any]]) -> None:
    assert describe_config(composed()) == (
        "run: classification, data generated, encoder fresh bert of 2 layers, device auto"
    )
    files = composed("data=files", "data.source.path=/tmp/reviews.csv", "trainer=cpu", "name=mine")
    assert describe_config(files).startswith("mine: classification, data /tmp/reviews.csv, ")
    assert describe_config(files).endswith(", device cpu")


def test_the_size_of_a_model_tells_frozen_parts() -> None:
    module: Any = torch.nn.Sequential(torch.nn.Linear(9, 10), torch.nn.Linear(10, 100))
    assert describe_size(module) == "1,200 parameters"
    module[1].requires_grad_(False)
    assert describe_size(module) == "1,200 parameters, 100 of them trained"


def test_lines_are_wrapped_and_paths_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/" + "a-very-long-name/" * 8
    print_wrapped(f"store: {path} and many words that come after it, so that more is wrapped here")
    lines = capsys.readouterr().out.splitlines()
    assert any(path in line for line in lines)
    assert all(len(line) <= 80 or path in line for line in lines)


def build_run(workers: int = 0, warmup: Any = None) -> Any:
    return SimpleNamespace(
        is_first_rank=True,
        training=SimpleNamespace(
            describe_device=lambda launcher: "cpu", val_check_steps=None, batch_ranks=None
        ),
        launcher=SimpleNamespace(rank_info=SimpleNamespace(world_size=1)),
        datamodule=SimpleNamespace(
            config=SimpleNamespace(num_workers=workers),
            dataset_info=SimpleNamespace(batches_per_epoch=10),
            build_length_warmup=lambda: warmup,
        ),
    )


def test_shorter_texts_at_first_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    frame = SpecialFrame([[1], [2]], None, True)
    warmup = LengthWarmup(64, 0.7, "head", frame, TrainingLength(10, 10, 1))
    run = build_run(warmup=warmup)
    [callback] = announce_training(run, precision_reason="fp32", total_steps=10)
    callback.on_fit_start(None, torch.nn.Linear(9, 10))  # type: ignore[arg-type]
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith(
        "100 parameters; 10 steps, batches of an epoch: 10, validation after each epoch, texts of "
        "at most 64 tokens in the first 7 steps"
    )


@pytest.mark.parametrize("workers", [2, 3])
def test_more_workers_than_cores_are_told_in_our_words(
    workers: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(announcement, "count_usable_cores", lambda: 2)
    announce_training(build_run(workers), precision_reason="fp32", total_steps=1)
    said = " ".join(capsys.readouterr().out.split())
    expected = (
        " data.num_workers=3 is more than the 2 cores that this process may use: batches may come "
        "later, not sooner"
    )
    assert said == "device cpu, precision fp32" + (expected if workers > 2 else "")
    # torch's own words, four times a run, are those of a warning
    silence_libraries()
    torch.utils.data.DataLoader([1, 2], num_workers=100)  # type: ignore[arg-type]
