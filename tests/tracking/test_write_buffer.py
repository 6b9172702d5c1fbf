"""The way from the training loop to the outbox on the disk."""

import errno
import os
import time
from pathlib import Path

import pytest

from src.tracking.outbox import JournalPosition, Outbox, read_entries
from src.tracking.write_buffer import WriteBuffer


def entries(folder: Path) -> list[object]:
    return [entry for entry, _ in read_entries(folder, JournalPosition())]


def points(folder: Path) -> list[tuple[str, int, float]]:
    """Every (key, step, value) that the journal holds, in order."""
    found = (
        entry for entry in entries(folder) if isinstance(entry, dict) and entry["kind"] == "points"
    )
    return [
        (key, entry["step"], value) for entry in found for key, value in entry["values"].items()
    ]


@pytest.fixture
def box(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path, "a" * 32, {})


def test_what_the_disk_takes_in_part_is_taken_back_and_written_later(
    box: Outbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, full = os.write, True

    def write(file: int, content: bytes) -> int:
        if full and len(content) <= 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, content[:10] if full else content)

    monkeypatch.setattr(os, "write", write)
    buffer = WriteBuffer(box)
    buffer.start()
    buffer.add_metrics({"a": 1.0}, 1)
    buffer.flush_to_disk()
    buffer.add_metrics({"a": 2.0}, 2)
    buffer.flush_to_disk()
    assert entries(box.folder) == []
    full = False
    buffer.close()
    assert points(box.folder) == [("a", 1, 1.0), ("a", 2, 2.0)]
    assert capsys.readouterr().err.count("cannot be written now") == 1


def test_what_is_put_is_on_the_disk_within_a_second_and_at_once_when_asked(box: Outbox) -> None:
    buffer = WriteBuffer(box)
    buffer.start()
    buffer.add_metrics({"a": 1.0}, 1)
    buffer.flush_to_disk()
    assert points(box.folder) == [("a", 1, 1.0)]
    buffer.add_metrics({"a": 2.0}, 2)
    deadline = time.monotonic() + 20
    while len(points(box.folder)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(points(box.folder)) == 2
    buffer.close()
    assert entries(box.folder)[-1] == {"kind": "end"}


def test_what_a_store_has_or_this_process_has_written_is_not_written_again(box: Outbox) -> None:
    buffer = WriteBuffer(box, last_logged_steps={"train/loss": 3})
    buffer.start()
    for step in range(2, 6):
        buffer.add_metrics({"train/loss": float(step), "val/loss": float(step)}, step)
    buffer.skip_logged_steps()
    for step in range(4, 8):
        buffer.add_metrics({"train/loss": -float(step)}, step)
    buffer.close()
    assert [(step, value) for key, step, value in points(box.folder) if key == "train/loss"] == [
        (4, 4.0),
        (5, 5.0),
        (6, -6.0),
        (7, -7.0),
    ]
    assert [step for key, step, _ in points(box.folder) if key == "val/loss"] == [2, 3, 4, 5]


def test_values_that_are_no_numbers_survive_the_journal(box: Outbox) -> None:
    buffer = WriteBuffer(box)
    buffer.start()
    buffer.add_metrics({"a": float("nan"), "b": float("inf")}, 1)
    buffer.close()
    assert repr(points(box.folder)) == "[('a', 1, nan), ('b', 1, inf)]"
    assert buffer.first_non_finite == {"a": "nan at step 1", "b": "inf at step 1"}
