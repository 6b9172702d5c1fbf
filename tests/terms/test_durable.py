"""Files must reach the disk; the names in a folder, where the system lets folders be synced."""

import os

import pytest

from src.terms.durable import sync, sync_all


def test_a_folder_that_cannot_be_synced_is_left_be_and_a_file_is_not(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")

    def refused(descriptor):
        raise OSError("not here")

    monkeypatch.setattr(os, "fsync", refused)
    sync(tmp_path)
    with pytest.raises(OSError, match="not here"):
        sync_all(tmp_path)
