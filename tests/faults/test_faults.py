"""What people do wrong, each with its exact answer: one message, no traceback, nothing written."""

from pathlib import Path

import pytest
import torch

from src.core import pretrained_files
from src.training.checkpoint_files import DESCRIPTION_KEY, find_newest_checkpoint, write_checkpoint
from tests.faults import (
    command_lines,
    config_files,
    data_files,
    model_folders,
    other_programs,
    searches,
)
from tests.faults.checkpoints import CHECKPOINTS
from tests.faults.entry import Entry
from tests.faults.models import sound
from tests.faults.walking import make, walk

ENTRIES: list[Entry] = [
    *command_lines.ENTRIES,
    *config_files.ENTRIES,
    *data_files.ENTRIES,
    *model_folders.ENTRIES,
    *other_programs.ENTRIES,
    *searches.ENTRIES,
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, no hub and no installed encoder, wherever this runs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(pretrained_files, "_is_hub_reachable", lambda: False)
    monkeypatch.setattr(pretrained_files, "_find_installed_encoder", lambda: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("entry", ENTRIES, ids=[each.title for each in ENTRIES])
def test_fault(
    entry: Entry,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(entry, tmp_path, model)
    before = {each for each in tmp_path.rglob("*") if "conf" not in each.parts}
    answer = walk(entry, tmp_path, monkeypatch, capsys)
    assert answer.said == entry.says
    assert "Traceback" not in answer.shown and answer.shown.count("error: ") == 1
    assert (answer.code, answer.failed is not None) == ((1, True) if entry.failed else (2, False))
    left = {each for each in tmp_path.rglob("*") if "conf" not in each.parts} - before
    if answer.failed is None:
        assert left == set()
    else:
        journal = "".join(
            each.read_text()
            for each in (tmp_path / "mlruns/outbox" / answer.failed).glob("*.jsonl")
        )
        assert '"status":"FAILED"' in journal
        assert not [each for each in left if each.name.endswith(".unfinished")]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_faulty_checkpoint_is_passed_over(name: str, tmp_path: Path) -> None:
    broken, remark = CHECKPOINTS[name]
    write_checkpoint(
        {"weights": torch.zeros(3), DESCRIPTION_KEY: {"run_id": "a" * 32}},
        tmp_path / "step=10.ckpt",
    )
    write_checkpoint(
        {"weights": torch.zeros(3), DESCRIPTION_KEY: {"run_id": "a" * 32}},
        tmp_path / "step=20.ckpt",
    )
    broken(tmp_path / "step=20.ckpt")
    assert find_newest_checkpoint(tmp_path) == (
        tmp_path / "step=10.ckpt",
        [f"step=20.ckpt is passed over: {remark}"],
    )


def test_as_many_as_are_promised_and_each_once() -> None:
    titles = [*CHECKPOINTS, *(each.title for each in ENTRIES)]
    assert len(set(titles)) == len(titles) >= 150
    assert all(each.says for each in ENTRIES)
