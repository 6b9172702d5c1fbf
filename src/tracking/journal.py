"""A run's journal: everything it writes, as lines of JSON appended to a file before anything else is done with them.

The file is a row of segments (`00000001.jsonl`, ...): a new one is begun when the last has grown, so that what has been
passed on can be removed while the run goes on. A line counts once its newline is there: one that was torn by a SIGKILL
is not read, and is cut off before the next is appended.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_SEGMENT_BYTES = 16_000_000


class Position(NamedTuple):
    """A place between two lines: the segment's number and the byte in it."""

    segment: int = 1
    offset: int = 0


class Journal:
    """The end of a journal that is written to, by one thread of one process at a time."""

    def __init__(self, folder: Path, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        numbers = segments(folder)
        self._number = numbers[-1] if numbers else 1
        self._file, self._size = _opened(_path(folder, self._number))

    def append(self, entries: Sequence[dict[str, Any]]) -> None:
        """Hand entries to the operating system: from then on they outlive the process, though not the power.

        Raises OSError where the disk takes them not; then none of them was written.
        """
        if self._size >= self._segment_bytes:
            self._turn()
        lines = "".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries).encode()
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(lines)

    def sync(self) -> None:
        """Have the disk keep what was appended: from then on it outlives the power too."""
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)

    def _turn(self) -> None:
        """Go on in a new segment. The old one is complete, and known to be so because a newer one stands beside it."""
        self.sync()
        file, size = _opened(_path(self._folder, self._number + 1))
        os.close(self._file)
        self._file, self._size, self._number = file, size, self._number + 1


def read(folder: Path, start: Position) -> Iterator[tuple[dict[str, Any] | None, Position]]:
    """The entries from `start` on, each with the place behind it; None for a line that holds no entry.

    Such a line ends in a newline and yet cannot be read: the power failed before the disk had its first bytes.
    """
    for number in segments(folder):
        if number < start.segment:
            continue
        offset = start.offset if number == start.segment else 0
        with open(_path(folder, number), "rb") as lines:
            lines.seek(offset)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
                yield _entry(line), Position(number, offset)


def segments(folder: Path) -> list[int]:
    """The numbers of the segments that are there, in order."""
    return sorted(int(path.stem) for path in folder.glob("*.jsonl") if path.stem.isdecimal())


def size(folder: Path, start: Position) -> int:
    """How many bytes stand behind `start`."""
    total = 0
    for number in segments(folder):
        if number >= start.segment:
            total += _path(folder, number).stat().st_size - (start.offset if number == start.segment else 0)
    return total


def forget(folder: Path, before: Position) -> None:
    """Remove the segments before the one in which a place lies."""
    for number in segments(folder):
        if number < before.segment:
            _path(folder, number).unlink(missing_ok=True)


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("kind"), str) else None


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.jsonl"


def _opened(path: Path) -> tuple[int, int]:
    """A segment open for appending and its size, a torn last line cut off."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    size = os.lseek(file, 0, os.SEEK_END)
    whole = size
    while whole and os.pread(file, 1, whole - 1) != b"\n":
        whole = max(0, whole - 1)
    if whole < size:
        os.ftruncate(file, whole)
    return file, whole
