"""A cached folder is whole or absent."""

import multiprocessing
import os
from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.cache import ContentCache


def _write(folder: Path) -> None:
    (folder / "a.txt").write_text("whole")


def test_built_once_and_found_afterwards(tmp_path: Path) -> None:
    calls: list[Path] = []

    def build(folder: Path) -> None:
        assert list(folder.iterdir()) == []
        calls.append(folder)
        _write(folder)

    cache = ContentCache(tmp_path / "new" / "root")
    first = cache.get_or_build("tokens", "a" * 64, build)
    assert cache.get_or_build("tokens", "a" * 64, build) == first
    assert (first / "a.txt").read_text() == "whole"
    assert len(calls) == 1 and calls[0] != first
    assert cache.get_or_build("tokens", "b" * 64, build) != first
    assert cache.get_or_build("tokenizer", "a" * 64, build) != first
    assert len(calls) == 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_absent_where_building_fails(error: type[BaseException], tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise error("no")

    cache = ContentCache(tmp_path)
    with pytest.raises(error):
        cache.get_or_build("tokens", "key", fail)
    assert [each.name for each in (tmp_path / "tokens").iterdir() if each.is_dir()] == []
    assert (cache.get_or_build("tokens", "key", _write) / "a.txt").is_file()


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    left = tmp_path / "tokens" / "key.unfinished"
    left.mkdir(parents=True)
    (left / "half.txt").write_text("half")
    folder = ContentCache(tmp_path).get_or_build("tokens", "key", _write)
    assert [each.name for each in folder.iterdir()] == ["a.txt"]
    assert not left.exists()


def test_what_a_killed_process_left_is_gone_on_with_where_asked(tmp_path: Path) -> None:
    calls: list[list[str]] = []

    def build(folder: Path, error: type[BaseException] | None) -> None:
        calls.append(sorted(each.name for each in folder.iterdir()))
        (folder / f"{len(calls)}.txt").write_text("a part")
        if error is not None:
            raise error("no")

    cache = ContentCache(tmp_path)
    for error in (KeyboardInterrupt, OSError, UserError, OSError):
        with pytest.raises(error):
            cache.get_or_build(
                "tokens", "key", lambda folder, error=error: build(folder, error), resumable=True
            )
        assert not (tmp_path / "tokens" / "key").exists()
    found = cache.get_or_build("tokens", "key", lambda folder: build(folder, None), resumable=True)
    # nothing is left of a mistake
    assert calls == [[], ["1.txt"], ["1.txt", "2.txt"], [], ["4.txt"]]
    assert sorted(each.name for each in found.iterdir()) == ["4.txt", "5.txt"]


def test_a_home_folder_may_be_written_with_a_tilde() -> None:
    assert ContentCache("~/x").root == Path.home() / "x"


def _build_slowly(root: str, barrier: "multiprocessing.synchronize.Barrier") -> None:
    import time

    def build(folder: Path) -> None:
        time.sleep(0.3)
        with (Path(root) / "calls.txt").open("a") as stream:
            stream.write("built\n")
        _write(folder)

    barrier.wait(30)
    assert (
        ContentCache(root).get_or_build("tokens", "key", build) / "a.txt"
    ).read_text() == "whole"


def test_all_is_on_the_disk_before_a_folder_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def watch(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        assert path == tmp_path / "tokens" or not (tmp_path / "tokens" / "key").exists()
        synced.append(path.name)

    monkeypatch.setattr(os, "fsync", watch)

    def build(folder: Path) -> None:
        (folder / "train").mkdir()
        (folder / "train" / "store.json").write_text("{}")
        (folder / "about.json").write_text("{}")

    ContentCache(tmp_path).get_or_build("tokens", "key", build)
    assert synced == ["store.json", "train", "about.json", "key.unfinished", "tokens"]


def test_two_processes_at_once_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [
        context.Process(target=_build_slowly, args=(str(tmp_path), barrier)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "calls.txt").read_text() == "built\n"
