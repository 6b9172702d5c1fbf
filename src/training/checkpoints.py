"""Checkpoints as files: whole or absent, verified before they are used, opened without running code.

A file is what `torch.save` writes, with a line behind it that holds the CRC-32 of all before: torch looks for neither
(it reads the index of the archive from behind, and does not compare checksums), so any tool of torch opens it.
"""

import contextlib
import os
import pickle
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from src.terms.durable import sync

ABOUT = "palimpsest"  # the key of a checkpoint under which its own description lies
PARTIAL = ".partial"  # ends the name of a file that is being written
_NAME = re.compile(r"step=(\d+)\.ckpt")
_MARK = b"\npalimpsest CRC-32 "
_LINE_BYTES = len(_MARK) + 9  # with eight hexadecimal digits and an end of line
_CHUNK_BYTES = 1 << 20


def _nothing(*arguments: object) -> None:
    """Where no record is kept."""


class Ties(NamedTuple):
    """What a checkpoint has to do with the record of its run.

    Args:
        about: goes into each checkpoint: whose it is.
        persist: called just before a checkpoint takes its name: what was logged until then must outlive the process.
        mirror: called with the folder and `checkpoints` whenever it holds other files than before.
        tag: called with a name and a text that a person should see at the run.
    """

    about: Mapping[str, str] = {}
    persist: Callable[[], object] = _nothing
    mirror: Callable[[Path, str], object] = _nothing
    tag: Callable[[str, str], object] = _nothing


class Found(NamedTuple):
    """The checkpoint to go on from, and what must be said about those that were passed over."""

    path: Path | None
    remarks: list[str]


def name(step: int) -> str:
    """The name of the checkpoint of an optimizer step."""
    return f"step={step}.ckpt"


def step_of(path: Path) -> int:
    """The optimizer step that a checkpoint is named after.

    Raises ValueError where the name is not one that `name` gives.
    """
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise ValueError(f"{path.name} is no checkpoint's name, which would be {name(120)}")
    return int(found[1])


def listed(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest first, faulty ones included; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted((each for each in folder.iterdir() if _NAME.fullmatch(each.name)), key=step_of, reverse=True)


def find(folder: Path) -> Found:
    """The newest whole checkpoint of a folder, by step; newer ones that are not whole are left alone and named."""
    remarks: list[str] = []
    for path in listed(folder):
        fault = check(path)
        if fault is None:
            return Found(path, remarks)
        remarks.append(f"{path.name} is passed over: {fault}")
    return Found(None, remarks)


def check(path: Path) -> str | None:
    """Why a file is no whole checkpoint, or None. Reads all of it: about half a second for each GB in memory."""
    try:
        with path.open("rb") as file:
            left = file.seek(0, os.SEEK_END) - _LINE_BYTES
            file.seek(max(0, left))
            line = file.read()
            if left <= 0 or not line.startswith(_MARK) or not line.endswith(b"\n"):
                return "it was cut short, or was not written by this program"
            file.seek(0)
            found = 0
            while left > 0:
                chunk = file.read(min(_CHUNK_BYTES, left))
                found, left = zlib.crc32(chunk, found), left - len(chunk)
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    return None if line == _line(found) else "it has changed since it was written (its checksum is another)"


def _line(checksum: int) -> bytes:
    return _MARK + b"%08x\n" % checksum


class _Summed:
    """A file that knows the CRC-32 of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.checksum = 0

    def write(self, content: bytes) -> int:
        self.checksum = zlib.crc32(content, self.checksum)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()


def about(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself; tensors stay on the disk.

    Among others: run_id, version, step, epoch, batch (done in this epoch), ended (training was over), world (ranks).
    Raises ValueError where it was not written by this program.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise ValueError(
            f"{path} was not written by this program: it holds more than tensors and plain values, or is no archive of "
            "torch; to read it could run code, so it is refused"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get(ABOUT), dict):
        raise ValueError(f"{path} was not written by this program: it has no {ABOUT!r}")
    described: dict[str, Any] = content[ABOUT]
    return {key: value for key, value in described.items() if key != "ranks"}


def write(state: Mapping[str, Any], path: Path, *, persist: Callable[[], object] = _nothing) -> None:
    """Write a checkpoint so that under its name there is at any moment the former file, the new one whole, or none.

    Raises OSError where the disk refuses; nothing is left behind then.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            summed = _Summed(file)
            torch.save(state, summed)  # type: ignore[arg-type]
            file.write(_line(summed.checksum))
            file.flush()
            os.fsync(file.fileno())
        persist()
        partial.replace(path)
        sync(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        refusal = _refusal(error)
        if refusal is not None and refusal is not error:
            raise refusal from error
        raise


def remove_partial(folder: Path) -> None:
    """Delete what a killed process had half written."""
    for each in folder.glob(f"*{PARTIAL}"):
        with contextlib.suppress(OSError):
            each.unlink()


def _refusal(error: BaseException | None) -> OSError | None:
    """The disk's own error behind what torch raises when it cannot write on."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
