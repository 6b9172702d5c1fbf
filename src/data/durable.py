"""What is written stays written, even if the power fails."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """A file's content, or a folder's names, to the disk."""
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
