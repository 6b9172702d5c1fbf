"""The outbox: a journal that survives any moment, and the folder around it."""

import json
import os
from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.tracking import outbox
from src.tracking.outbox import Journal, JournalPosition, Outbox

RUN = "a" * 32


def entries(folder: Path, start: JournalPosition | None = None) -> list[object]:
    return [entry for entry, _ in outbox.read_entries(folder, start or JournalPosition())]


@pytest.fixture
def box(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path, RUN, {})


def test_cut_at_any_byte_the_journal_holds_a_prefix_of_what_was_written(tmp_path: Path) -> None:
    written = [{"kind": "tags", "tags": {"note": "zwölf\n" * n}} for n in range(4)]
    whole = Journal(tmp_path)
    whole.append_entries(written)
    whole.close()
    path = tmp_path / "00000001.jsonl"
    lines = path.read_bytes()
    for cut in range(len(lines)):
        path.write_bytes(lines[:cut])
        count = lines[:cut].count(b"\n")
        assert entries(tmp_path) == written[:count]
        # a torn line is not glued to the next one
        again = Journal(tmp_path)
        again.append_entries([{"kind": "end"}])
        again.close()
        assert entries(tmp_path) == [*written[:count], {"kind": "end"}]


def test_a_line_that_the_power_failure_spoilt_does_not_hide_the_rest(tmp_path: Path) -> None:
    (tmp_path / "00000001.jsonl").write_bytes(b'{"kind":"end"}\n\0\0\0\0\n[1]\n{"kind":"end"}\n')
    assert entries(tmp_path) == [{"kind": "end"}, None, None, {"kind": "end"}]


def test_a_long_journal_is_a_row_of_segments_that_are_forgotten_one_by_one(tmp_path: Path) -> None:
    written = [{"kind": "tags", "tags": {"n": str(n)}} for n in range(30)]
    long = Journal(tmp_path, segment_bytes=200)
    for entry in written:
        long.append_entries([entry])
    long.close()
    assert len(outbox.list_segments(tmp_path)) > 3
    places = [place for _, place in outbox.read_entries(tmp_path, JournalPosition())]
    assert entries(tmp_path) == written and entries(tmp_path, places[11]) == written[12:]
    outbox.delete_segments_before(tmp_path, places[20])
    assert outbox.list_segments(tmp_path)[0] == places[20].segment
    assert entries(tmp_path, places[20]) == written[21:]


def test_only_one_delivers(box: Outbox) -> None:
    with outbox.delivery_lock(box.folder) as first, outbox.delivery_lock(box.folder) as second:
        assert (first, second) == (True, False)
        outbox.remove_outbox(box.folder)
    with outbox.delivery_lock(box.folder) as mine:
        assert not mine
    assert not box.folder.exists()


def test_a_mirrored_folder_keeps_only_what_is_there(box: Outbox, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("step=1.ckpt", ".hidden", "step=2.ckpt.partial", "run.lock"):
        (folder / name).write_text(name)
    first = box.stage_mirror(folder, "checkpoints")
    assert list(first["add"]) == first["keep"] == ["step=1.ckpt"]
    staged = outbox.resolve_staged_path(box.folder, first["add"]["step=1.ckpt"])
    assert staged.stat().st_ino == (folder / "step=1.ckpt").stat().st_ino
    assert box.stage_mirror(folder, "checkpoints")["add"] == {}
    (folder / "step=1.ckpt").unlink()
    (folder / "step=2.ckpt").write_text("2")
    second = box.stage_mirror(folder, "checkpoints")
    assert list(second["add"]) == second["keep"] == ["step=2.ckpt"]
    # a process killed now has only the first entry in its journal
    assert staged.exists()
    box.append_entries([second])
    # a store that is away for hours must not cost the disk of every checkpoint
    assert not staged.exists()


@pytest.mark.parametrize(
    "place", ["../../secret", "/etc/passwd", "files/../../secret", "run.json", ""]
)
def test_a_journal_from_elsewhere_reads_nothing_outside_its_folder(box: Outbox, place: str) -> None:
    with pytest.raises(UserError, match="which is not one of the folder's own files"):
        outbox.resolve_staged_path(box.folder, place)


def test_a_link_that_leads_outside_is_not_followed(box: Outbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    box.create_staging_path("a").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="not one of the folder's own files"):
        outbox.resolve_staged_path(box.folder, "files/1/a")


def test_folders_are_listed_as_they_were_begun_and_others_are_passed_over(tmp_path: Path) -> None:
    for number, when in ((1, 30), (2, 10), (3, 20)):
        Outbox(tmp_path, str(number) * 32, {"started_at": when})
    (tmp_path / "outbox" / "not a run").mkdir()
    (tmp_path / "outbox" / "not a run" / "run.json").write_text(json.dumps({}))
    assert [folder.name[0] for folder in outbox.list_pending_outboxes(tmp_path)] == ["2", "3", "1"]
    with pytest.raises(UserError, match="is no run id"):
        outbox.resolve_outbox_folder(tmp_path, "../../etc")


def test_folders_have_the_rights_that_the_umask_gives(tmp_path: Path) -> None:
    source = tmp_path / "private"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "a.txt").write_text("a")
    source.chmod(0o700)
    (source / "inner").chmod(0o700)
    before = os.umask(0o027)
    try:
        outbox.link_or_copy(source, tmp_path / "there" / "model")
    finally:
        os.umask(before)
    made = [tmp_path / "there" / "model", tmp_path / "there" / "model" / "inner"]
    assert [path.stat().st_mode & 0o777 for path in made] == [0o750, 0o750]
    assert (made[1] / "a.txt").read_text() == "a"
