"""Checkpoints as files: whole or absent, and a faulty one is known."""

import random
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from src.training import checkpoint_files
from src.training.checkpoint_files import (
    DESCRIPTION_KEY,
    checkpoint_name,
    delete_partial_files,
    find_checkpoint_damage,
    find_newest_checkpoint,
    parse_checkpoint_step,
    read_checkpoint_description,
    write_checkpoint,
)

STATE = {
    "state_dict": {"weight": torch.arange(5000.0)},
    DESCRIPTION_KEY: {"step": 3, "ranks": [torch.zeros(9)]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (3, 12, 120):
        write_checkpoint(STATE, tmp_path / checkpoint_name(step))
    return tmp_path


def test_the_newest_by_step_is_found(folder: Path) -> None:
    (folder / "notes.ckpt").write_text("no checkpoint")
    (folder / "step=500.ckpt.partial").write_text("half of one")
    assert find_newest_checkpoint(folder) == (folder / "step=120.ckpt", [])
    assert find_newest_checkpoint(folder / "absent") == (None, [])
    assert parse_checkpoint_step(folder / checkpoint_name(7)) == 7
    with pytest.raises(
        ValueError, match=r"best.ckpt is no checkpoint's name, which would be step=120.ckpt"
    ):
        parse_checkpoint_step(Path("best.ckpt"))


def test_what_it_says_of_itself_comes_without_its_tensors(folder: Path) -> None:
    assert read_checkpoint_description(folder / checkpoint_name(3)) == {"step": 3}
    torch.save({"state_dict": {}}, folder / "other")
    with pytest.raises(
        ValueError, match=r"other was not written by this program: it has no 'palimpsest'"
    ):
        read_checkpoint_description(folder / "other")


def test_faulty_ones_are_passed_over_and_named(folder: Path) -> None:
    content = (folder / checkpoint_name(120)).read_bytes()
    (folder / checkpoint_name(120)).write_bytes(content[:-4000])
    changed = bytearray((folder / checkpoint_name(12)).read_bytes())
    changed[len(changed) // 2] ^= 16
    (folder / checkpoint_name(12)).write_bytes(changed)
    found = find_newest_checkpoint(folder)
    assert found.path == folder / checkpoint_name(3)
    assert found.remarks == [
        "step=120.ckpt is passed over: it was cut short, or was not written by this program",
        "step=12.ckpt is passed over: it has changed since it was written (its checksum is "
        "another)",
    ]
    assert (folder / checkpoint_name(120)).exists()
    (folder / checkpoint_name(3)).write_bytes(b"")
    assert find_newest_checkpoint(folder).path is None
    assert find_checkpoint_damage(folder / checkpoint_name(4)) == "there is no such file"


def test_every_change_is_noticed_and_torch_reads_what_is_whole(
    folder: Path, tmp_path: Path
) -> None:
    content, path = (folder / checkpoint_name(3)).read_bytes(), tmp_path / checkpoint_name(9)
    drawn = random.Random(5)
    for place in (0, len(content) - 1, *(drawn.randrange(len(content)) for _ in range(60))):
        changed = bytearray(content)
        changed[place] ^= 1 << drawn.randrange(8)
        for broken in (changed, content[:place], content + content[:place], content + b"\n"):
            path.write_bytes(broken)
            assert find_checkpoint_damage(path) is not None or broken == content
    for options in ({}, {"mmap": True}):
        loaded = torch.load(folder / checkpoint_name(3), weights_only=True, **options)
        assert torch.equal(loaded["state_dict"]["weight"], STATE["state_dict"]["weight"])


# -- writing


@pytest.fixture
def little_room() -> Iterator[None]:
    """The system lets no file grow beyond 10 kilobytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_refuses_leaves_what_was_there(folder: Path, little_room: None) -> None:
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    with pytest.raises(OSError, match="File too large"):
        write_checkpoint({**STATE, "more": 1}, folder / checkpoint_name(120))
    with pytest.raises(OSError, match="File too large"):
        write_checkpoint(STATE, folder / checkpoint_name(200))
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before


def test_it_takes_its_name_after_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    held = lambda: [each.name for each in (tmp_path / "run").iterdir()]
    monkeypatch.setattr(checkpoint_files.os, "fsync", lambda descriptor: events.append("synced"))
    write_checkpoint(
        STATE, tmp_path / "run" / checkpoint_name(1), persist=lambda: events.extend(held())
    )
    # the file, then the folder
    assert events == ["synced", "step=1.ckpt.partial", "synced"]
    assert held() == ["step=1.ckpt"]


def test_an_interruption_leaves_nothing_behind(folder: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(STATE, folder / checkpoint_name(200), persist=interrupt)
    assert find_newest_checkpoint(folder).path == folder / checkpoint_name(120)
    (folder / f"{checkpoint_name(300)}.partial").write_bytes(b"of a process that was killed")
    delete_partial_files(folder)
    assert sorted(each.name for each in folder.iterdir()) == [
        "step=12.ckpt",
        "step=120.ckpt",
        "step=3.ckpt",
    ]
