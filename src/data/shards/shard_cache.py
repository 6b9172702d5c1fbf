"""Shards of an object storage on this machine: a bounded number of them, fetched before they are
read.

All processes of a machine share a folder and take turns with a lock. A shard appears in it under
its name when it is whole and what the manifest says. Those that were asked for least recently give
way; a process that still reads one keeps it open.
"""

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from src.core.files import PARTIAL_SUFFIX, atomic_write
from src.core.object_folder import ObjectFolder
from src.core.user_errors import UserError
from src.data.shards.manifest import OpenShard, ShardManifest

# between two shards that are fetched ahead, so that others get the lock
_PAUSE_SECONDS = 0.05
_POLL_SECONDS = 0.01


class ShardCache:
    """The shards of a corpus, by their numbers.

    Args:
        manifest: what they must hold.
        folder: where they lie; those of a local folder are read where they are.
        place: the folder for copies.
        most: so many are kept.
    """

    def __init__(
        self, manifest: ShardManifest, folder: ObjectFolder, place: Path, most: int
    ) -> None:
        self.manifest, self.folder = manifest, folder
        self.place, self.most = place, most
        self._wanted: list[int] = []
        self._thread: threading.Thread | None = None
        # of this process: shards that were fetched, and how long reading has waited for them
        self.num_fetched, self.seconds_waited = 0, 0.0

    def open_shard(self, number: int) -> OpenShard:
        """A shard, which is fetched if it is not here.

        Raises:
            StorageOutage: the storage has not answered for too long.
            UserError: the shard is not there any more, or is another one.
        """
        if self.folder.local is not None:
            file = self.folder.local / self.manifest.name_shard(number)
            try:
                return self.manifest.map_shard(number, file)
            except FileNotFoundError as error:
                raise self._missing_error(number) from error
        while True:
            # it may give way to another one at any moment
            with suppress(FileNotFoundError):
                return self.manifest.map_shard(number, self._file(number))
            began = time.monotonic()
            try:
                self._fetch(number)
            except FileNotFoundError as error:
                raise self._missing_error(number) from error
            self.seconds_waited += time.monotonic() - began

    def fetch_ahead(self, numbers: Sequence[int]) -> None:
        """Fetch shards in the background, in this order; what was asked for before and is not
        among them may give way. A failure shows when the shard is opened.
        """
        if self.folder.local is not None:
            return
        for number in reversed(numbers):
            with suppress(FileNotFoundError):
                os.utime(self._file(number))
        self._wanted = [number for number in numbers if not self._file(number).exists()]
        if self._wanted and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(
                target=self._fetch_wanted, name="fetch shards", daemon=True
            )
            self._thread.start()

    def _fetch_wanted(self) -> None:
        while self._wanted:
            number, self._wanted = self._wanted[0], self._wanted[1:]
            try:
                self._fetch(number)
            # whoever reads the shard tries again, and says what is wrong
            except (OSError, UserError):
                return
            time.sleep(_PAUSE_SECONDS)

    def _file(self, number: int) -> Path:
        return self.place / f"{number:06d}.bin"

    def _fetch(self, number: int) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        with FileLock(self.place / "lock", poll_interval=_POLL_SECONDS):
            if self._file(number).exists():
                return
            name = self.manifest.name_shard(number)
            content = self.folder.read(name)
            if not self.manifest.shards[number].is_content(content):
                # half of it, or of another corpus
                raise UserError(
                    f"{name} is not what the manifest says: {len(content)} bytes of "
                    f"{self.manifest.count_bytes(number)}, or others",
                    key=self.folder.key,
                    value=self.folder.address,
                )
            self._make_room()
            with atomic_write(self._file(number), fsync=True) as partial:
                partial.write_bytes(content)
            self.num_fetched += 1

    def _make_room(self) -> None:
        for partial in self.place.glob(f"*{PARTIAL_SUFFIX}"):
            # of a process that was killed
            partial.unlink(missing_ok=True)
        files = sorted(self.place.glob("*.bin"), key=lambda file: file.stat().st_mtime_ns)
        for file in files[: max(0, len(files) + 1 - self.most)]:
            file.unlink(missing_ok=True)

    def _missing_error(self, number: int) -> UserError:
        return UserError(
            f"{self.manifest.name_shard(number)} is not there any more",
            key=self.folder.key,
            value=self.folder.address,
            hint="without the folders tokens/*/train of data.cache and this path it is made again",
        )
