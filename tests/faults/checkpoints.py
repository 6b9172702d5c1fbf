"""Checkpoints that are not whole: what happened to the newest file, and what is said of it."""

from collections.abc import Callable
from pathlib import Path

import torch

CUT = "it was cut short, or was not written by this program"
CHANGED = "it has changed since it was written (its checksum is another)"


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _zero(path: Path) -> None:
    """As a file system may after a power loss: the right size, and nothing in it."""
    path.write_bytes(bytes(path.stat().st_size))


CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (_flip, CHANGED),
    "a checkpoint cut short": (_shorten, CUT),
    "a checkpoint of zeros": (_zero, CUT),
    "an empty checkpoint": (lambda path: path.write_bytes(b""), CUT),
    "a foreign checkpoint": (lambda path: torch.save({"state_dict": {}}, path), CUT),
    "a foreign pickle": (lambda path: path.write_bytes(b"cos\nsystem\n(S'true'\ntR."), CUT),
}
