"""A cache on disk: folders named by a hash of everything that decides their content."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from src.core.files import fsync_path, fsync_tree
from src.core.user_errors import UserError


class CacheMirror(Protocol):
    """Copies of folders elsewhere, such as a `FolderMirror` of `src/data/shards`."""

    def fetch(self, kind: str, key: str, target: Path) -> bool: ...
    def store(self, kind: str, key: str, source: Path) -> None: ...


class ContentCache:
    """Folders below a root, built once for each content.

    A folder is complete or absent: it is built under another name and renamed at the end, when all
    of it is on the disk.

    Args:
        mirror: where a folder is looked for before it is built, and copied to; None: nowhere.
    """

    def __init__(self, root: str | Path, mirror: CacheMirror | None = None) -> None:
        self.root = Path(root).expanduser()
        self._mirror = mirror

    def get_or_build(
        self,
        kind: str,
        key: str,
        build: Callable[[Path], None],
        *,
        resumable: bool = False,
        copy_key: str | None = None,
    ) -> Path:
        """Return the folder of a content, building it first if it is not there.

        Processes that want the same content at the same time wait for the first of them.

        Args:
            kind: name of the sub-folder.
            key: hash of everything that decides the content.
            build: called with the folder to fill.
            resumable: `build` gets a folder with what an earlier call left behind that was killed,
                interrupted or stopped by something temporary such as a full disk. A `UserError`
                leaves nothing.
            copy_key: the key of the content in the mirror, where it is another one there.
        """
        place = self.root / kind / key[:32]
        if place.is_dir():
            return place
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            if not place.is_dir():
                unfinished = place.with_name(f"{place.name}.unfinished")
                if not resumable:
                    # a killed process may have left it
                    shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(exist_ok=True)
                try:
                    self._fill(kind, copy_key or key, unfinished, build)
                    fsync_tree(unfinished)
                    unfinished.replace(place)
                    fsync_path(place.parent)
                except BaseException as error:
                    if not resumable or isinstance(error, UserError):
                        shutil.rmtree(unfinished, ignore_errors=True)
                    raise
        return place

    def _fill(self, kind: str, key: str, folder: Path, build: Callable[[Path], None]) -> None:
        if self._mirror is None:
            build(folder)
        elif not self._mirror.fetch(kind, key, folder):
            build(folder)
            self._mirror.store(kind, key, folder)
