"""What is written stays written, even if the power fails."""

import contextlib
import os
from pathlib import Path


def sync(path: Path) -> None:
    """A file's content to the disk, or a folder's names where the system lets folders be synced."""
    with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_all(folder: Path) -> None:
    """Everything in a folder, and the folder itself last."""
    for each in sorted(folder.rglob("*"), reverse=True):
        sync(each)
    sync(folder)
