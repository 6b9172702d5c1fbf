"""Writes checkpoint files so that each is whole or absent, verifies them, and reads them without
running any code.

A file is what `torch.save` writes, followed by a line with the CRC-32 of all bytes before it. Torch
can open such a file, since it searches the index of the archive from the end of the file.
"""

import contextlib
import os
import pickle
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from src.core.files import PARTIAL_SUFFIX, atomic_write, fsync_path
from src.core.user_errors import UserError

# The key of a checkpoint's description of itself.
DESCRIPTION_KEY = "palimpsest"
_NAME_PATTERN = re.compile(r"step=(\d+)\.ckpt")
_CHECKSUM_PREFIX = b"\npalimpsest CRC-32 "
# The length with eight hexadecimal digits and the end of the line.
_CHECKSUM_LINE_BYTES = len(_CHECKSUM_PREFIX) + 9
_CHUNK_BYTES = 1 << 20


def _do_nothing(*arguments: object) -> None:
    """The default of hooks that are not set."""


class CheckpointHooks(NamedTuple):
    """The functions through which the writing of checkpoints reaches the record of the run.

    Attributes:
        description: put into each checkpoint; it says to which run the checkpoint belongs.
        persist: called just before a checkpoint takes its name. It makes sure that everything
            logged until then outlives the process.
        mirror: called with the folder and `checkpoints` whenever the files in it have changed.
        tag: called with the name and the text of a tag, which is shown at the run.
    """

    description: Mapping[str, str] = {}
    persist: Callable[[], object] = _do_nothing
    mirror: Callable[[Path, str], object] = _do_nothing
    tag: Callable[[str, str], object] = _do_nothing


class CheckpointLookup(NamedTuple):
    """The checkpoint to go on from, and remarks about newer ones that were passed over."""

    path: Path | None
    remarks: list[str]


def checkpoint_name(step: int) -> str:
    """Return the file name of the checkpoint of an optimizer step."""
    return f"step={step}.ckpt"


def parse_checkpoint_step(path: Path) -> int:
    """Return the optimizer step that a checkpoint is named after.

    Raises ValueError for a name that `checkpoint_name` does not give.
    """
    match = _NAME_PATTERN.fullmatch(path.name)
    if match is None:
        raise ValueError(
            f"{path.name} is no checkpoint's name, which would be {checkpoint_name(120)}"
        )
    return int(match[1])


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, newest first, damaged ones included."""
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if _NAME_PATTERN.fullmatch(path.name)),
        key=parse_checkpoint_step,
        reverse=True,
    )


def find_newest_checkpoint(folder: Path) -> CheckpointLookup:
    """Find the newest whole checkpoint of a folder, by step.

    Newer ones that are damaged are left alone, and named in the remarks.
    """
    remarks: list[str] = []
    for path in list_checkpoints(folder):
        damage = find_checkpoint_damage(path)
        if damage is None:
            return CheckpointLookup(path, remarks)
        remarks.append(f"{path.name} is passed over: {damage}")
    return CheckpointLookup(None, remarks)


def find_checkpoint_damage(path: Path) -> str | None:
    """Return why a file is no whole checkpoint, or None.

    Reads all of it, which takes about half a second for each GB that the system has cached.
    """
    try:
        with path.open("rb") as file:
            unread = file.seek(0, os.SEEK_END) - _CHECKSUM_LINE_BYTES
            file.seek(max(0, unread))
            line = file.read()
            if unread <= 0 or not line.startswith(_CHECKSUM_PREFIX) or not line.endswith(b"\n"):
                return "it was cut short, or was not written by this program"
            file.seek(0)
            checksum = 0
            while unread > 0:
                chunk = file.read(min(_CHUNK_BYTES, unread))
                checksum, unread = zlib.crc32(chunk, checksum), unread - len(chunk)
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    if line == _checksum_line(checksum):
        return None
    return "it has changed since it was written (its checksum is another)"


def _checksum_line(checksum: int) -> bytes:
    return _CHECKSUM_PREFIX + b"%08x\n" % checksum


class _ChecksumWriter:
    """Writes to a file, and computes the CRC-32 of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.checksum = 0

    def write(self, content: bytes) -> int:
        self.checksum = zlib.crc32(content, self.checksum)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()


def get_description(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of itself that a loaded checkpoint holds.

    Raises UserError if it was not written by this program.
    """
    description = checkpoint.get(DESCRIPTION_KEY)
    if not isinstance(description, dict):
        raise UserError(
            "the checkpoint was not written by this program, so it does not say where to go on"
        )
    return description


def read_checkpoint_description(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself; tensors stay on the disk.

    Among its keys are run_id, version, step, epoch, batch (the batches done in this epoch), ended
    (true if training was over) and world (the number of ranks).

    Raises ValueError if it was not written by this program.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise ValueError(
            f"{path} was not written by this program: it holds more than tensors and plain "
            "values, or is no archive of "
            "torch; to read it could run code, so it is refused"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get(DESCRIPTION_KEY), dict):
        raise ValueError(f"{path} was not written by this program: it has no {DESCRIPTION_KEY!r}")
    description: dict[str, Any] = content[DESCRIPTION_KEY]
    return {key: value for key, value in description.items() if key != "ranks"}


def write_checkpoint(
    state: Mapping[str, Any], path: Path, *, persist: Callable[[], object] = _do_nothing
) -> None:
    """Write a checkpoint; at any moment its name holds the former file, the whole new one, or none.

    Args:
        state: tensors and plain values.
        path: the file of the checkpoint.
        persist: called once the file is written, before it takes its name.

    Raises:
        OSError: the file cannot be written. No part of it is left behind.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_write(path) as partial:
            with partial.open("wb") as file:
                writer = _ChecksumWriter(file)
                torch.save(state, writer)  # type: ignore[arg-type]
                file.write(_checksum_line(writer.checksum))
                file.flush()
                os.fsync(file.fileno())
            persist()
        fsync_path(path.parent)
    except BaseException as error:
        os_error = _find_os_error(error)
        if os_error is not None and os_error is not error:
            raise os_error from error
        raise


def delete_partial_files(folder: Path) -> None:
    """Delete the files that a killed process has left half written."""
    for path in folder.glob(f"*{PARTIAL_SUFFIX}"):
        with contextlib.suppress(OSError):
            path.unlink()


def _find_os_error(error: BaseException | None) -> OSError | None:
    """Return the disk's own error behind the one that torch raises when it cannot write on."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
