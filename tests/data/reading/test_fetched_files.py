"""Source files in an object storage: copied once, whole, and anew where they are others."""

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from src.core.object_folder import ObjectFolder
from src.core.user_errors import UserError
from src.data.reading import archives, fetched_files
from src.data.reading.sources import Source

ROWS = [("good film", "pos"), ("bad film", "neg")]


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Of which the copies lie in tmp_path."""
    for module in (archives, fetched_files):
        monkeypatch.setattr(module, "CACHE_ROOT", tmp_path)
    MemoryFileSystem.store.clear()
    fetched_files.fetch_source.cache_clear()
    yield fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()
    fetched_files.fetch_source.cache_clear()


def _table(rows: list[tuple[str, str]]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream).writerows([("text", "label"), *rows])
    return stream.getvalue().encode()


def _read(address: str, split: str = "train") -> list[tuple[str, Any]]:
    fetched_files.fetch_source.cache_clear()
    source = Source(path=address, label="label")
    source.check()
    return [(record.text, record.label) for record in source.read_records(split)]


def test_a_folder_is_read_as_a_local_one(
    storage: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    storage.pipe_file("memory://bucket/reviews/train.csv", _table(ROWS))
    storage.pipe_file("memory://bucket/reviews/inner/notes.txt", b"other")
    storage.pipe_file("memory://bucket/reviews/test.csv", _table(ROWS[:1]))
    assert _read("memory://bucket/reviews/") == ROWS
    assert _read("memory://bucket/reviews", "test") == ROWS[:1]
    said = capfd.readouterr().err
    assert said.count("fetching 3 files (0.0 MB) from memory://bucket/reviews\n") == 2
    local = tmp_path / "local"
    local.mkdir()
    (local / "train.csv").write_bytes(_table(ROWS))
    digests = [
        Source(path=path, label="label").fingerprint_split("train")
        for path in ("memory://bucket/reviews", str(local))
    ]
    assert digests[0] == digests[1]
    assert Source(path="memory://bucket/reviews", label="label").name == "reviews"


def test_a_file_and_an_archive(storage: Any) -> None:
    storage.pipe_file("memory://bucket/reviews.csv", _table(ROWS))
    assert _read("memory://bucket/reviews.csv") == ROWS
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("train.csv", _table(ROWS))
    storage.pipe_file("memory://bucket/reviews.zip", packed.getvalue())
    assert _read("memory://bucket/reviews.zip") == ROWS


def test_a_file_that_is_another_one_is_fetched_again(storage: Any) -> None:
    storage.pipe_file("memory://bucket/reviews.csv", _table(ROWS))
    assert _read("memory://bucket/reviews.csv") == ROWS
    storage.pipe_file("memory://bucket/reviews.csv", _table(ROWS[::-1]))
    assert _read("memory://bucket/reviews.csv") == ROWS[::-1]


def test_what_was_copied_before_a_stop_stays(storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("test", "train"):
        storage.pipe_file(f"memory://bucket/reviews/{name}.csv", _table(ROWS))
    fetched: list[str] = []
    real = ObjectFolder.fetch

    def fetch(self: ObjectFolder, name: str, *arguments: Any) -> None:
        fetched.append(name)
        if len(fetched) == 2:
            raise OSError("no space left on device")
        real(self, name, *arguments)

    monkeypatch.setattr(ObjectFolder, "fetch", fetch)
    with pytest.raises(OSError, match="no space"):
        _read("memory://bucket/reviews")
    assert _read("memory://bucket/reviews") == ROWS
    assert fetched == ["test.csv", "train.csv", "train.csv"]


def test_what_cannot_be_read(storage: Any) -> None:
    for address, message in (
        ("memory://bucket/nowhere", "data.source.path=memory://bucket/nowhere: there is nothing"),
        (
            "memory://bucket/*.csv",
            "data.source.path=memory://bucket/*.csv: a pattern of names: expected a file or a "
            "folder of an object storage",
        ),
        (
            "https://host/reviews.csv",
            "data.source.path=https://host/reviews.csv: an address; download it first and give the "
            "file",
        ),
        (
            "nowhere://bucket/a",
            "data.source.path=nowhere://bucket/a: an address of no known kind: expected a folder, "
            "or an address such as s3://BUCKET/FOLDER",
        ),
    ):
        with pytest.raises(UserError) as caught:
            _read(address)
        assert str(caught.value) == message
