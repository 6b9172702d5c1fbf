"""Files must reach the disk; the names in a folder, where the system lets folders be synced."""

import os
from pathlib import Path

import pytest

from src.core.files import atomic_write, fsync_path, fsync_tree, write_json


def test_a_folder_that_cannot_be_synced_is_left_be_and_a_file_is_not(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")

    def refused(descriptor):
        raise OSError("not here")

    monkeypatch.setattr(os, "fsync", refused)
    fsync_path(tmp_path)
    with pytest.raises(OSError, match="not here"):
        fsync_tree(tmp_path)


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"a": 1}, fsync=True)
    with pytest.raises(ValueError), atomic_write(file) as partial:
        partial.write_text("half")
        raise ValueError
    assert file.read_text() == '{"a": 1}' and list(tmp_path.iterdir()) == [file]
    with atomic_write(file) as partial:
        os.link(file, partial)
    assert list(tmp_path.iterdir()) == [file]
