"""Shards that are fetched: how many stay, what is refused, and storages that fail for a while."""

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from src.core.failures import diagnose_failure
from src.core.object_folder import ObjectFolder, StorageOutage
from src.core.user_errors import UserError
from src.data.shards.folder_mirror import FolderMirror
from src.data.shards.settings import PATH_KEY
from src.data.shards.sharded_tokens import ShardedTokens
from tests.data.shards.test_shard_writer import KEY, make_chunks, open_tokens, write_shards


@pytest.fixture
def address() -> Iterator[str]:
    MemoryFileSystem.store.clear()
    yield "memory://bucket/corpus"
    MemoryFileSystem.store.clear()


@pytest.fixture
def tokens(tmp_path: Path, address: str) -> ShardedTokens:
    return write_shards(tmp_path / "train", address, make_chunks())


def _copies(tmp_path: Path) -> set[int]:
    return {int(file.stem) for file in (tmp_path / "copies" / KEY).glob("*.bin")}


def _read(tokens: ShardedTokens, shard: int) -> list[int]:
    ids, _ = tokens.read_spans(np.array([shard * tokens.manifest.shard_tokens]), 8)
    return ids.ravel().tolist()


def _await(happened: Any) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_fetched_shards_are_those_of_a_folder(tmp_path: Path, tokens: ShardedTokens) -> None:
    local = write_shards(tmp_path / "local", str(tmp_path / "shards"), make_chunks())
    length = 8
    begins = np.random.default_rng(1).permutation(tokens.num_tokens // length) * length
    for ours, theirs in zip(
        tokens.read_spans(begins, length), local.read_spans(begins, length), strict=True
    ):
        assert np.array_equal(ours, theirs)
    assert local.cache.num_fetched == 0 and tokens.cache.seconds_waited > 0
    assert len(_copies(tmp_path)) == 4 < len(tokens.manifest.shards)


def test_those_asked_for_least_recently_give_way(tmp_path: Path, tokens: ShardedTokens) -> None:
    for shard in range(4):
        _read(tokens, shard)
    tokens.cache.fetch_ahead([0, 1, 4])
    _await(lambda: 4 in _copies(tmp_path))
    assert _copies(tmp_path) == {0, 1, 3, 4}
    before = tokens.cache.num_fetched
    assert _read(open_tokens(tmp_path / "train", tokens.cache.folder.address), 4)
    assert tokens.cache.num_fetched == before


def test_shards_come_before_they_are_read(tmp_path: Path, tokens: ShardedTokens) -> None:
    tokens.cache.fetch_ahead([5, 2, 0])
    _await(lambda: _copies(tmp_path) == {5, 2, 0})
    waited = tokens.cache.seconds_waited
    _read(tokens, 2)
    assert tokens.cache.seconds_waited == waited == 0


def test_a_reader_goes_on_with_a_shard_that_gave_way(tmp_path: Path, tokens: ShardedTokens) -> None:
    first = _read(tokens, 0)
    for file in (tmp_path / "copies" / KEY).glob("*.bin"):
        file.unlink()
    assert _read(tokens, 0) == first and _copies(tmp_path) == set()
    for shard in (1, 2, 3):
        _read(tokens, shard)
    assert _read(tokens, 0) == first and 0 in _copies(tmp_path)


@pytest.mark.parametrize("change", ["half", "other"])
def test_half_a_shard_is_never_taken_for_whole(
    change: str, tmp_path: Path, tokens: ShardedTokens, address: str
) -> None:
    """As a stream that breaks leaves it behind, or another corpus of the same size."""
    name = f"{address}/{tokens.manifest.name_shard(2)}"
    filesystem = fsspec.filesystem("memory")
    content = filesystem.cat_file(name)
    broken = content[: len(content) // 2] if change == "half" else content[::-1]
    filesystem.pipe_file(name, broken)
    with pytest.raises(UserError, match=r"000002.bin is not what the manifest says") as caught:
        _read(tokens, 2)
    assert str(caught.value).startswith(f"data.shards.path={address}: shards/{KEY}/000002.bin")
    assert _copies(tmp_path) == set()
    filesystem.pipe_file(name, content)
    assert _read(tokens, 2)


def test_a_shard_that_is_gone(tokens: ShardedTokens, address: str, tmp_path: Path) -> None:
    fsspec.filesystem("memory").rm_file(f"{address}/{tokens.manifest.name_shard(1)}")
    with pytest.raises(UserError, match="000001.bin is not there any more"):
        _read(tokens, 1)
    local = write_shards(tmp_path / "local", str(tmp_path / "shards"), make_chunks())
    (tmp_path / "shards" / local.manifest.name_shard(1)).write_bytes(b"half")
    with pytest.raises(UserError, match=r"000001.bin has 4 bytes of \d+; it is none of the"):
        _read(local, 1)
    (tmp_path / "shards" / local.manifest.name_shard(1)).unlink()
    with pytest.raises(UserError, match="000001.bin is not there any more"):
        _read(local, 1)


class _Outage:
    """A storage that does not answer, `count` times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: float) -> None:
        self.left = count
        real = MemoryFileSystem.cat_file

        def fail(*arguments: Any, **settings: Any) -> bytes:
            self.left -= 1
            if self.left >= 0:
                raise TimeoutError("no answer")
            return real(*arguments, **settings)

        monkeypatch.setattr(MemoryFileSystem, "cat_file", fail)


def test_a_short_outage_is_told_once_and_waited_for(
    tokens: ShardedTokens, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tokens.cache.folder.outage_seconds = 60
    monkeypatch.setattr("src.core.object_folder._RETRY_SECONDS", 0.01)
    outage = _Outage(monkeypatch, 3)
    assert _read(tokens, 0) and outage.left < 0
    assert capfd.readouterr().err == (
        "note: memory://bucket/corpus: TimeoutError: no answer; it is tried again for 60 s\n"
    )


def test_a_long_outage_ends_the_run_with_a_reason(
    tokens: ShardedTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.cache.folder.outage_seconds = 0.05
    monkeypatch.setattr("src.core.object_folder._RETRY_SECONDS", 0.01)
    _Outage(monkeypatch, float("inf"))
    tokens.cache.fetch_ahead([0])
    with pytest.raises(StorageOutage) as caught:
        _read(tokens, 0)
    failure = diagnose_failure(caught.value)
    assert failure is not None and failure.message == (
        "StorageOutage: memory://bucket/corpus has not answered for 0.1 s "
        "(data.shards.path): TimeoutError: no answer"
    )


def test_many_threads_read_whole_shards(tmp_path: Path, tokens: ShardedTokens) -> None:
    """Each as a process of its own would: with readers of its own on the same folder."""
    address = tokens.cache.folder.address
    expected = [_read(tokens, shard) for shard in range(6)]
    found: list[list[list[int]]] = []

    def read_all(first: int) -> None:
        own = open_tokens(tmp_path / "train", address)
        order = [(first + step) % 6 for step in range(6)]
        by_shard = {shard: _read(own, shard) for shard in order}
        found.append([by_shard[shard] for shard in range(6)])

    threads = [threading.Thread(target=read_all, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    assert len(_copies(tmp_path)) <= 4


def test_a_storage_whose_library_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError) as caught:
        ObjectFolder("s3://bucket/corpus", key=PATH_KEY)
    assert str(caught.value) == (
        "data.shards.path=s3://bucket/corpus: s3:// needs a library that is not installed; "
        "pip install -e '.[object-storage]'"
    )


def test_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below"):
        with pytest.raises(UserError, match="is a file: expected a folder"):
            ObjectFolder(str(tmp_path / name), key=PATH_KEY).check()
    ObjectFolder(str(tmp_path / "new" / "folder"), key=PATH_KEY).check()


def test_addresses() -> None:
    with pytest.raises(UserError, match="an address of no known kind"):
        ObjectFolder("nowhere://bucket", key=PATH_KEY, outage_seconds=0)
    assert ObjectFolder("file:///some/place/", key=PATH_KEY, outage_seconds=0).local == Path(
        "/some/place"
    )


def test_a_copy_of_a_folder_is_whole_or_not_there(
    tmp_path: Path, address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    mirror = FolderMirror(ObjectFolder(address, key=PATH_KEY, outage_seconds=0))
    (tmp_path / "source" / "inner").mkdir(parents=True)
    (tmp_path / "source" / "inner" / "a.txt").write_text("content" * 100)
    target = tmp_path / "target"
    target.mkdir()
    (target / "left.txt").write_text("of a call that was stopped")
    assert not mirror.fetch("rows", "k" * 64, target)
    mirror.store("rows", "k" * 64, tmp_path / "source")
    name = f"{address}/rows/{'k' * 32}.tar.gz"
    filesystem = fsspec.filesystem("memory")
    whole = filesystem.cat_file(name)
    filesystem.pipe_file(name, whole[:-20])
    assert not mirror.fetch("rows", "k" * 64, target)
    assert f"note: {name} is broken" in capfd.readouterr().err
    filesystem.pipe_file(name, whole)
    assert mirror.fetch("rows", "k" * 64, target)
    assert [path.name for path in target.iterdir()] == ["inner"]
    assert (target / "inner" / "a.txt").read_text() == "content" * 100
    mirror.store("unpacked", "k" * 64, tmp_path / "source")
    assert not mirror.fetch("unpacked", "k" * 64, target)
