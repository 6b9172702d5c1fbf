"""The folder `mlruns/outbox/RUN_ID`, in which the writes of a run wait for the store.

    run.json     who writes here, and for which store
    *.jsonl      the journal
    files/N/     files that entries of the journal name; hard links where the disk allows it
    console.log  what the run printed, if its artifacts are not plain files
    delivered    the position in the journal up to which the store has everything
    lock         held by the process that delivers

The journal is a write-ahead log: everything that a run records is appended to it, one line of JSON
for each entry, before anything else is done. It consists of segments (`00000001.jsonl`, ...). A new
one is begun when the last has grown, so that delivered segments can be deleted while the run goes
on. A line counts once it ends in a newline: one that was cut off by a SIGKILL is not read, and is
removed before the next one is appended.

Nothing here knows MLflow.
"""

import fcntl
import itertools
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from src.core.files import PARTIAL_SUFFIX, atomic_write, write_json
from src.core.redaction import redact_text
from src.core.user_errors import UserError

CONSOLE_FILE = "console.log"
_SEGMENT_BYTES = 16_000_000
# files of a mirrored folder that are not finished yet
_UNFINISHED_SUFFIXES = (PARTIAL_SUFFIX, ".lock")


class JournalPosition(NamedTuple):
    """A position between two lines: the number of a segment, and a byte in it."""

    segment: int = 1
    offset: int = 0


class Journal:
    """The writer of a journal; used by one thread of one process at a time."""

    def __init__(self, folder: Path, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        numbers = list_segments(folder)
        self._segment_number = numbers[-1] if numbers else 1
        self._file, self._segment_size = _open_segment(_segment_path(folder, self._segment_number))

    def append_entries(self, entries: Sequence[dict[str, Any]]) -> None:
        """Hand entries to the operating system: they survive the process, though not a power
        failure.

        Raises OSError if the write fails; no entry is then kept.
        """
        if self._segment_size >= self._segment_bytes:
            self._start_segment()
        lines = "".join(
            json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries
        ).encode()
        unwritten = memoryview(lines)
        try:
            while unwritten:
                unwritten = unwritten[os.write(self._file, unwritten) :]
        except OSError:
            os.ftruncate(self._file, self._segment_size)
            raise
        self._segment_size += len(lines)

    def fsync(self) -> None:
        """Have the disk keep what was appended: it then survives a power failure too."""
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)

    def _start_segment(self) -> None:
        """Begin a new segment; that it exists says that the old one is complete."""
        self.fsync()
        file, size = _open_segment(_segment_path(self._folder, self._segment_number + 1))
        os.close(self._file)
        self._file, self._segment_size, self._segment_number = file, size, self._segment_number + 1


def read_entries(
    folder: Path, start: JournalPosition
) -> Iterator[tuple[dict[str, Any] | None, JournalPosition]]:
    """Yield the entries from `start` on, each with the position behind it.

    None stands for a line that ends in a newline and yet is no entry: the power failed before the
    disk had its first bytes.
    """
    for number in list_segments(folder):
        if number < start.segment:
            continue
        offset = start.offset if number == start.segment else 0
        with open(_segment_path(folder, number), "rb") as lines:
            lines.seek(offset)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
                yield _parse_entry(line), JournalPosition(number, offset)


def list_segments(folder: Path) -> list[int]:
    """Return the numbers of the segments that exist, in order."""
    return sorted(int(path.stem) for path in folder.glob("*.jsonl") if path.stem.isdecimal())


def count_bytes_after(folder: Path, start: JournalPosition) -> int:
    """Return how many bytes of the journal lie behind `start`."""
    numbers = [number for number in list_segments(folder) if number >= start.segment]
    total = sum(_segment_path(folder, number).stat().st_size for number in numbers)
    return total - start.offset if start.segment in numbers else total


def delete_segments_before(folder: Path, before: JournalPosition) -> None:
    """Delete the segments before that of a position."""
    for number in list_segments(folder):
        if number < before.segment:
            _segment_path(folder, number).unlink(missing_ok=True)


def _parse_entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("kind"), str) else None


def _segment_path(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.jsonl"


def _open_segment(path: Path) -> tuple[int, int]:
    """Open a segment for appending, without an incomplete last line; return it and its size."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    size = os.lseek(file, 0, os.SEEK_END)
    complete_size = size
    while complete_size and os.pread(file, 1, complete_size - 1) != b"\n":
        complete_size -= 1
    if complete_size < size:
        os.ftruncate(file, complete_size)
    return file, complete_size


class Outbox:
    """The outbox of a run, for the run that writes it. Any thread may call its methods.

    Args:
        runs_folder: the folder `mlruns`.
        metadata: describes the run to whoever delivers (`process`, `uri`, ...); `create` is there
            for a run that no store knows yet.
    """

    def __init__(self, runs_folder: Path, run_id: str, metadata: Mapping[str, Any]) -> None:
        self.folder = resolve_outbox_folder(runs_folder, run_id)
        self._lock = threading.Lock()
        self._staging_numbers = itertools.count(1)
        # by artifact and file name: the file's identity, and its path below the outbox
        self._mirrored_files: dict[str, dict[str, tuple[object, str]]] = {}
        self.folder.mkdir(parents=True)
        write_json(self.folder / "run.json", dict(metadata))
        self._journal = Journal(self.folder)

    def append_entries(self, entries: list[dict[str, Any]]) -> None:
        """Append entries to the journal; see `Journal.append_entries`."""
        with self._lock:
            self._journal.append_entries(entries)
        # not sooner: whoever delivers must find the former files, or the entry that drops them
        for entry in entries:
            for path in entry.get("dropped", ()):
                (self.folder / path).unlink(missing_ok=True)

    def fsync(self) -> None:
        with self._lock:
            self._journal.fsync()

    def close(self) -> None:
        """Append the last entry, after which a delivery may remove the folder."""
        with self._lock:
            self._journal.append_entries([{"kind": "end"}])
            self._journal.fsync()
            self._journal.close()

    def stage_artifact(self, source: Path) -> str:
        """Link or copy a file or folder into the outbox; return its path below the outbox."""
        target = self.create_staging_path(source.name)
        link_or_copy(source, target)
        return target.relative_to(self.folder).as_posix()

    def create_staging_path(self, name: str) -> Path:
        """Return a path in a new folder of the outbox, for a file that is to be written."""
        folder = self.folder / "files" / str(next(self._staging_numbers))
        folder.mkdir(parents=True)
        return folder / name

    def stage_mirror(self, folder: Path, artifact: str) -> dict[str, Any]:
        """Return the entry that makes the artifact folder `artifact` hold exactly the files that
        `folder` holds now.

        Files that are new since the last call are staged. Those that vanished since then are
        deleted from the outbox once the entry is in the journal.
        """
        before = self._mirrored_files.get(artifact, {})
        now: dict[str, tuple[object, str]] = {}
        added: dict[str, str] = {}
        for path in sorted(folder.iterdir()):
            if (
                not path.is_file()
                or path.is_symlink()
                or path.name.startswith(".")
                or path.suffix in _UNFINISHED_SUFFIXES
            ):
                continue
            status = path.stat()
            identity = (status.st_ino, status.st_mtime_ns, status.st_size)
            if path.name in before and before[path.name][0] == identity:
                now[path.name] = before[path.name]
            else:
                added[path.name] = self.stage_artifact(path)
                now[path.name] = (identity, added[path.name])
        self._mirrored_files[artifact] = now
        kept_paths = {staged for _, staged in now.values()}
        return {
            "kind": "mirror",
            "artifact": artifact,
            "add": added,
            "keep": sorted(now),
            "dropped": sorted({staged for _, staged in before.values()} - kept_paths),
        }


def link_or_copy(source: Path, target: Path) -> None:
    """Link or copy a file or folder to `target`; hard links are made where the disk allows it.

    Folders have the rights that the umask gives: that of a temporary folder is its user's alone.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        # `target` exists if the folder is delivered a second time
        target.mkdir(exist_ok=True)
        for path in source.iterdir():
            link_or_copy(path, target / path.name)
    else:
        _link_or_copy_file(source, target)


def _link_or_copy_file(source: Path, target: Path) -> None:
    """Replace `target` by a hard link or copy of `source`, at once."""
    with atomic_write(target) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(source, partial)
        except OSError:
            shutil.copy2(source, partial)
    # it is still there if both names were one file already
    partial.unlink(missing_ok=True)


def resolve_outbox_folder(runs_folder: Path, run_id: str) -> Path:
    """Return the folder of a run's outbox. Raises UserError for what is no run id."""
    if not re.fullmatch(r"[0-9a-f]{32}", run_id):
        raise UserError(f"{run_id!r} is no run id: expected 32 hexadecimal digits")
    return runs_folder / "outbox" / run_id


def list_pending_outboxes(runs_folder: Path) -> list[Path]:
    """Return the outbox folders of all runs, in the order of their start: a parent before its
    children.
    """
    folders = [path.parent for path in (runs_folder / "outbox").glob("*/run.json")]
    return sorted(
        (folder for folder in folders if re.fullmatch(r"[0-9a-f]{32}", folder.name)),
        key=lambda folder: (read_outbox_metadata(folder).get("started_at", 0), folder.name),
    )


def read_outbox_metadata(folder: Path) -> dict[str, Any]:
    """Return the metadata that `Outbox` was given; empty if the file is gone or unreadable."""
    return _read_json(folder / "run.json")


def read_last_write_time(folder: Path) -> float:
    """Return when the journal was last written to, in seconds since 1970."""
    return max((path.stat().st_mtime for path in folder.glob("*.jsonl")), default=0.0)


def read_delivered_position(folder: Path) -> JournalPosition:
    """Return the position up to which the store has everything.

    After a power failure it may lie too far back; entries are then sent a second time.
    """
    position = _read_json(folder / "delivered")
    return JournalPosition(int(position.get("segment", 1)), int(position.get("offset", 0)))


def mark_delivered(folder: Path, position: JournalPosition) -> None:
    """Note that the store has everything up to a position; delivered segments are deleted."""
    write_json(folder / "delivered", position._asdict())
    delete_segments_before(folder, position)


def resolve_staged_path(folder: Path, name: str) -> Path:
    """Return the path of a file that an entry names.

    Raises UserError if it lies outside the outbox, which may come from another machine.
    """
    path = folder / name
    parts = Path(name).parts
    if (
        parts[:1] != ("files",)
        or ".." in parts
        or not path.resolve().is_relative_to(folder.resolve())
    ):
        raise UserError(
            f"{folder}: the journal names {name!r}, which is not one of the folder's own files"
        )
    return path


def validate_artifact_path(artifact: str | os.PathLike[str]) -> Path:
    """Return the path of an artifact. Raises ValueError if it would lie outside its run."""
    path = Path(artifact)
    if (
        path.is_absolute()
        or not path.parts
        or ".." in path.parts
        or "\\" in str(path)
        or "\0" in str(path)
    ):
        raise ValueError(f"an artifact lies inside its run, not at {artifact}")
    return path


def reject_symlinks(folder: Path) -> None:
    """Raise UserError if an outbox holds a symbolic link.

    Ours never do, and one in an outbox that comes from elsewhere could lead outside.
    """
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            raise UserError(
                f"{path} is a symbolic link, which an outbox never holds; remove it to deliver "
                "the rest"
            )


@contextmanager
def delivery_lock(folder: Path) -> Iterator[bool]:
    """Yield True while this process alone delivers from `folder`; False if another process does,
    or if the folder is gone.
    """
    try:
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.fstat(file).st_nlink > 0
        except BlockingIOError:
            is_ours = False
        yield is_ours
    finally:
        os.close(file)


def remove_outbox(folder: Path) -> None:
    """Delete an outbox. Its metadata goes first: what a kill may leave does not count as a run."""
    (folder / "run.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def redact_uri(uri: str | None) -> str | None:
    """Return a store's address without its password, as an outbox may hold it."""
    return None if uri is None else redact_text(uri)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
