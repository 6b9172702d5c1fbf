"""Work done once for each content, kept in folders named after a hash of everything that shaped it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from src.terms.durable import sync, sync_all
from src.terms.fault import Fault


class Cache:
    """Folders below one root. A folder is whole or absent: it is built under another name, and renamed when all of it
    is on the disk."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()

    def folder(self, kind: str, key: str, build: Callable[[Path], None], *, resumable: bool = False) -> Path:
        """The folder of this content, built by `build(empty folder)` where it is not there yet.

        Processes that want the same content at the same time wait for the first one.

        Args:
            resumable: `build` gets what an earlier call left that was killed, interrupted or failed in a way that may
                pass (a full disk), and goes on from there. It is deleted where a person's mistake (`Fault`) ended it.
        """
        place = self.root / kind / key[:32]
        if place.is_dir():
            return place
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            if not place.is_dir():
                unfinished = place.with_name(f"{place.name}.unfinished")
                if not resumable:
                    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
                unfinished.mkdir(exist_ok=True)
                try:
                    build(unfinished)
                    sync_all(unfinished)
                    unfinished.replace(place)
                    sync(place.parent)
                except BaseException as error:
                    if not resumable or isinstance(error, Fault):
                        shutil.rmtree(unfinished, ignore_errors=True)
                    raise
        return place
