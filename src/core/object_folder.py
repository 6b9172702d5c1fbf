"""A folder of objects, on a disk or in an object storage (fsspec).

Listings of a storage may be old and are not asked: an object is there if it can be read. It is
written in one piece, since a stream that breaks leaves half an object behind that looks whole
(s3fs 2026.9). Who reads it checks a digest.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from src.core.files import atomic_write
from src.core.formatting import format_duration
from src.core.printing import print_line
from src.core.retry import describe_error, retry
from src.core.user_errors import UserError

# so long a storage that does not answer is asked again, where no key says how long
OUTAGE_SECONDS = 300.0
_RETRY_SECONDS = 2.0
# trying again does not help
_FINAL_ERRORS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
T = TypeVar("T")


class StorageOutage(OSError):
    """An object storage has not answered for as long as it is waited for."""


class ObjectVersion(NamedTuple):
    """What tells an object from a later one of the same name."""

    size: int
    tag: str

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "ObjectVersion":
        """The version in what fsspec says of an object: the tag of its content where the storage
        has one, else a time.
        """
        names = ("ETag", "etag", "md5", "md5Hash", "LastModified", "mtime", "created")
        tag = next((facts[name] for name in names if facts.get(name)), "")
        # a listing may write a time otherwise than the object's own facts do
        return cls(int(facts["size"]), str(tag.timestamp() if hasattr(tag, "timestamp") else tag))


class ObjectFolder:
    """Objects by their names below an address; a local folder where it is a path or `file://`.

    Args:
        key: of the config, which names the address.
        outage_seconds: so long a storage that does not answer is asked again.
    """

    def __init__(self, address: str, *, key: str, outage_seconds: float = OUTAGE_SECONDS) -> None:
        self.key = key
        self.address = address.rstrip("/")
        self.outage_seconds = outage_seconds
        # None: an object storage
        self.local: Path | None = None
        protocol, separator, rest = address.partition("://")
        if not separator:
            self.local = Path(address).expanduser().absolute()
        elif protocol == "file":
            self.local = Path(f"/{rest.lstrip('/')}")
        else:
            self._check_protocol(protocol)
        # by process: a connection does not outlive a fork
        self._filesystems: dict[int, Any] = {}

    def _check_protocol(self, protocol: str) -> None:
        from fsspec import get_filesystem_class

        try:
            get_filesystem_class(protocol)
        except ImportError as error:
            hint = "pip install -e '.[object-storage]'" if protocol in ("s3", "s3a") else str(error)
            raise UserError(
                f"{protocol}:// needs a library that is not installed",
                key=self.key,
                value=self.address,
                hint=hint,
            ) from error
        except ValueError as error:
            raise UserError(
                "an address of no known kind",
                key=self.key,
                value=self.address,
                expected="a folder, or an address such as s3://BUCKET/FOLDER",
            ) from error

    @property
    def _filesystem(self) -> Any:
        """fsspec's, of this process, and without what it remembers of listings."""
        import fsspec

        if os.getpid() not in self._filesystems:
            protocol = self.address.partition("://")[0]
            self._filesystems[os.getpid()] = fsspec.filesystem(
                protocol, use_listings_cache=False, skip_instance_cache=True
            )
        return self._filesystems[os.getpid()]

    def check(self) -> None:
        """Raise UserError if there is no such bucket, or it may not be read."""
        if self.local is not None:
            place = next(parent for parent in (self.local, *self.local.parents) if parent.exists())
            if not place.is_dir():
                raise UserError("is a file", key=self.key, value=self.address, expected="a folder")
            return
        protocol, _, rest = self.address.partition("://")
        bucket = rest.partition("/")[0]
        if protocol not in ("s3", "s3a", "gs", "gcs"):
            return
        try:
            self._filesystem.info(bucket)
        except FileNotFoundError as error:
            raise UserError(
                f"there is no bucket {bucket}", key=self.key, value=self.address
            ) from error
        # what it is depends on the library of the storage
        except Exception as error:
            raise UserError(
                f"{bucket} cannot be read: {describe_error(error)}",
                key=self.key,
                value=self.address,
            ) from error

    def read(self, name: str) -> bytes:
        """The content of an object.

        Raises:
            FileNotFoundError: it is not there.
            StorageOutage: the storage has not answered for too long.
        """
        if self.local is not None:
            return (self.local / name).read_bytes()
        return self._retry(lambda: self._filesystem.cat_file(f"{self.address}/{name}"))

    def write(self, name: str, content: bytes) -> None:
        """Write an object, in place of a former one. Raises `StorageOutage` as `read` does, and
        OSError if what is there afterwards has another size.
        """
        if self.local is not None:
            place = self.local / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(place, fsync=True) as partial:
                partial.write_bytes(content)
            return

        def put() -> None:
            filesystem, place = self._filesystem, f"{self.address}/{name}"
            filesystem.pipe_file(place, content)
            if (size := filesystem.size(place)) != len(content):
                raise OSError(f"{place} has {size} bytes of {len(content)}")

        self._retry(put)

    def list_objects(self) -> dict[str, ObjectVersion]:
        """The objects below the address by their names, which is "" where the address is that of an
        object itself. Only of object storages.

        Raises:
            UserError: there is nothing, or it may not be read.
        """
        assert self.local is None
        filesystem = self._filesystem
        try:
            info = filesystem.info(self.address)
            root = filesystem._strip_protocol(self.address)
            found = {root: info}
            if info["type"] != "file":
                found = filesystem.find(self.address, detail=True)
        except FileNotFoundError as error:
            raise UserError("there is nothing", key=self.key, value=self.address) from error
        # what it is depends on the library of the storage
        except Exception as error:
            raise UserError(
                f"cannot be read: {describe_error(error)}", key=self.key, value=self.address
            ) from error
        return {
            name.removeprefix(root).lstrip("/"): ObjectVersion.of(facts)
            for name, facts in sorted(found.items())
            if not name.endswith("/")
        }

    def fetch(self, name: str, version: ObjectVersion, target: Path) -> None:
        """Copy an object to a file of this machine, whole or not at all.

        Raises:
            OSError: it has become another one.
            StorageOutage: as `read` does.
        """
        place = f"{self.address}/{name}" if name else self.address

        def get() -> None:
            with atomic_write(target, fsync=True) as partial:
                self._filesystem.get_file(place, str(partial))
                now = ObjectVersion.of(self._filesystem.info(place))
                if now != version or partial.stat().st_size != version.size:
                    raise FileNotFoundError(f"{place} has changed while it was fetched")

        target.parent.mkdir(parents=True, exist_ok=True)
        self._retry(get)

    def _retry(self, action: Callable[[], T]) -> T:
        said = False

        def note(error: Exception) -> None:
            nonlocal said
            if isinstance(error, _FINAL_ERRORS):
                raise error
            if not said:
                said = True
                print_line(
                    f"note: {self.address}: {describe_error(error)}; it is "
                    f"tried again for {format_duration(self.outage_seconds)}",
                    to_stderr=True,
                )

        try:
            return retry(
                action,
                errors=(Exception,),
                timeout_seconds=self.outage_seconds,
                interval_seconds=min(_RETRY_SECONDS, self.outage_seconds),
                on_failure=note,
            )
        except _FINAL_ERRORS:
            raise
        except Exception as error:
            raise StorageOutage(
                f"{self.address} has not answered for "
                f"{format_duration(self.outage_seconds)} ({self.key}): "
                f"{describe_error(error)}"
            ) from error
