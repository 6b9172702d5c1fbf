"""The way from the training loop to the disk: a journal that survives any moment, and the folder around it."""

import errno
import json
import os
import time
from pathlib import Path

import pytest

from src.terms.fault import Fault
from src.tracking import journal, outbox
from src.tracking.journal import Journal, Position
from src.tracking.outbox import Outbox
from src.tracking.sender import Sender

RUN = "a" * 32


def entries(folder: Path, start: Position | None = None) -> list[object]:
    return [entry for entry, _ in journal.read(folder, start or Position())]


def points(folder: Path) -> list[tuple[str, int, float]]:
    """Every (key, step, value) that the journal holds, in order."""
    found = (entry for entry in entries(folder) if isinstance(entry, dict) and entry["kind"] == "points")
    return [(key, entry["step"], value) for entry in found for key, value in entry["values"].items()]


@pytest.fixture
def box(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path, RUN, {})


def test_cut_at_any_byte_the_journal_holds_a_prefix_of_what_was_written(tmp_path: Path) -> None:
    written = [{"kind": "tags", "tags": {"note": "zwölf\n" * n}} for n in range(4)]
    whole = Journal(tmp_path)
    whole.append(written)
    whole.close()
    path = tmp_path / "00000001.jsonl"
    lines = path.read_bytes()
    for cut in range(len(lines)):
        path.write_bytes(lines[:cut])
        count = lines[:cut].count(b"\n")
        assert entries(tmp_path) == written[:count]
        again = Journal(tmp_path)  # a torn line is not glued to the next one
        again.append([{"kind": "end"}])
        again.close()
        assert entries(tmp_path) == [*written[:count], {"kind": "end"}]


def test_a_line_that_the_power_failure_spoilt_does_not_hide_the_rest(tmp_path: Path) -> None:
    (tmp_path / "00000001.jsonl").write_bytes(b'{"kind":"end"}\n\0\0\0\0\n[1]\n{"kind":"end"}\n')
    assert entries(tmp_path) == [{"kind": "end"}, None, None, {"kind": "end"}]


def test_a_long_journal_is_a_row_of_segments_that_are_forgotten_one_by_one(tmp_path: Path) -> None:
    written = [{"kind": "tags", "tags": {"n": str(n)}} for n in range(30)]
    long = Journal(tmp_path, segment_bytes=200)
    for entry in written:
        long.append([entry])
    long.close()
    assert len(journal.segments(tmp_path)) > 3
    places = [place for _, place in journal.read(tmp_path, Position())]
    assert entries(tmp_path) == written and entries(tmp_path, places[11]) == written[12:]
    journal.forget(tmp_path, places[20])
    assert journal.segments(tmp_path)[0] == places[20].segment
    assert entries(tmp_path, places[20]) == written[21:]


def test_what_the_disk_takes_in_part_is_taken_back_and_written_later(
    box: Outbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, full = os.write, True

    def write(file: int, content: bytes) -> int:
        if full and len(content) <= 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, content[:10] if full else content)

    monkeypatch.setattr(os, "write", write)
    sender = Sender(box)
    sender.put({"a": 1.0}, 1)
    sender.persist()
    sender.put({"a": 2.0}, 2)
    sender.persist()
    assert entries(box.folder) == []
    full = False
    sender.close()
    assert points(box.folder) == [("a", 1, 1.0), ("a", 2, 2.0)]
    assert capsys.readouterr().err.count("cannot be written now") == 1


def test_what_is_put_is_on_the_disk_within_a_second_and_at_once_when_asked(box: Outbox) -> None:
    sender = Sender(box)
    sender.put({"a": 1.0}, 1)
    sender.persist()
    assert points(box.folder) == [("a", 1, 1.0)]
    sender.put({"a": 2.0}, 2)
    deadline = time.monotonic() + 20
    while len(points(box.folder)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(points(box.folder)) == 2
    sender.close()
    assert entries(box.folder)[-1] == {"kind": "end"}


def test_what_a_store_has_or_this_process_has_written_is_not_written_again(box: Outbox) -> None:
    sender = Sender(box, floors={"train/loss": 3})
    for step in range(2, 6):
        sender.put({"train/loss": float(step), "val/loss": float(step)}, step)
    sender.repeated()
    for step in range(4, 8):
        sender.put({"train/loss": -float(step)}, step)
    sender.close()
    assert [(step, value) for key, step, value in points(box.folder) if key == "train/loss"] == [
        (4, 4.0),
        (5, 5.0),
        (6, -6.0),
        (7, -7.0),
    ]
    assert [step for key, step, _ in points(box.folder) if key == "val/loss"] == [2, 3, 4, 5]


def test_values_that_are_no_numbers_survive_the_journal(box: Outbox) -> None:
    sender = Sender(box)
    sender.put({"a": float("nan"), "b": float("inf")}, 1)
    sender.close()
    assert repr(points(box.folder)) == "[('a', 1, nan), ('b', 1, inf)]"
    assert sender.non_finite == {"a": "nan at step 1", "b": "inf at step 1"}


def test_only_one_delivers(box: Outbox) -> None:
    with outbox.only_one(box.folder) as first, outbox.only_one(box.folder) as second:
        assert (first, second) == (True, False)
        outbox.remove(box.folder)
    with outbox.only_one(box.folder) as mine:
        assert not mine
    assert not box.folder.exists()


def test_a_mirrored_folder_keeps_only_what_is_there(box: Outbox, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("step=1.ckpt", ".hidden", "step=2.ckpt.partial", "run.lock"):
        (folder / name).write_text(name)
    first = box.mirror(folder, "checkpoints")
    assert list(first["add"]) == first["keep"] == ["step=1.ckpt"]
    staged = outbox.staged(box.folder, first["add"]["step=1.ckpt"])
    assert staged.stat().st_ino == (folder / "step=1.ckpt").stat().st_ino
    assert box.mirror(folder, "checkpoints")["add"] == {}
    (folder / "step=1.ckpt").unlink()
    (folder / "step=2.ckpt").write_text("2")
    second = box.mirror(folder, "checkpoints")
    assert list(second["add"]) == second["keep"] == ["step=2.ckpt"]
    assert staged.exists()  # a process killed now has only the first entry in its journal
    box.append([second])
    assert not staged.exists()  # a store that is away for hours must not cost the disk of every checkpoint


@pytest.mark.parametrize("place", ["../../secret", "/etc/passwd", "files/../../secret", "run.json", ""])
def test_a_journal_from_elsewhere_reads_nothing_outside_its_folder(box: Outbox, place: str) -> None:
    with pytest.raises(Fault, match="which is not one of the folder's own files"):
        outbox.staged(box.folder, place)


def test_a_link_that_leads_outside_is_not_followed(box: Outbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    box.fresh("a").symlink_to(tmp_path / "secret")
    with pytest.raises(Fault, match="not one of the folder's own files"):
        outbox.staged(box.folder, "files/1/a")


def test_folders_are_listed_as_they_were_begun_and_others_are_passed_over(tmp_path: Path) -> None:
    for number, when in ((1, 30), (2, 10), (3, 20)):
        Outbox(tmp_path, str(number) * 32, {"started_at": when})
    (tmp_path / "outbox" / "not a run").mkdir()
    (tmp_path / "outbox" / "not a run" / "run.json").write_text(json.dumps({}))
    assert [folder.name[0] for folder in outbox.waiting(tmp_path)] == ["2", "3", "1"]
    with pytest.raises(Fault, match="is no run id"):
        outbox.folder_of(tmp_path, "../../etc")
