"""Archives of several files, unpacked into the cache: `.zip`, `.tar` and packed `.tar` files."""

import hashlib
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from src.core.files import PROJECT_ROOT
from src.core.formatting import format_quantity
from src.core.user_errors import UserError
from src.data.cache import ContentCache
from src.data.reading.packed_files import BROKEN_DATA_ERRORS, check_zip_member, is_data_member

CACHE_ROOT = PROJECT_ROOT / ".cache"
_TAR_SUFFIXES = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
ARCHIVE_SUFFIXES = (".zip", *_TAR_SUFFIXES)
# Text is packed to a tenth, rarely to a hundredth of its size; what promises more is a trap.
_MOST_UNPACKED_RATIO = 500
_ALWAYS_UNPACKED_BYTES = 1 << 28
_COPY_BYTES = 1 << 20
# Archives inside archives, and no more: some hold themselves.
_MOST_LEVELS = 3


def is_archive(path: Path) -> bool:
    """Whether a path is a file that is called as an archive is."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES) and path.is_file()


def enter_archive(path: Path, level: int = 1) -> Path:
    """The unpacked folder of an archive, or the place in it where the path leads on; any other
    path unchanged. Folders that hold one folder or archive and nothing else are entered.

    Raises:
        UserError: the archive is broken, encrypted, absurdly large, or holds no file.
    """
    archive = next((parent for parent in (path, *path.parents) if is_archive(parent)), None)
    if archive is None:
        return path
    if level > _MOST_LEVELS:
        raise _archive_error(
            path, f"more than {_MOST_LEVELS} archives inside one another; unpack them yourself"
        )
    folder = unpack_archive(archive)
    if path != archive:
        return enter_archive(folder / path.relative_to(archive), level + 1)
    while len(inside := list(folder.iterdir())) == 1 and inside[0].is_dir():
        [folder] = inside
    if len(inside) == 1 and is_archive(inside[0]):
        return enter_archive(inside[0], level + 1)
    return folder


def unpack_archive(path: Path) -> Path:
    """The folder in the cache that holds the files of an archive; it is filled once."""
    facts = path.stat()
    content = f"{path.resolve()}, {facts.st_size}, {facts.st_mtime_ns}"
    key = hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()
    return ContentCache(CACHE_ROOT).get_or_build(
        "unpacked", key, lambda folder: _unpack_into(folder, path)
    )


def _unpack_into(folder: Path, path: Path) -> None:
    left = max(_ALWAYS_UNPACKED_BYTES, _MOST_UNPACKED_RATIO * path.stat().st_size)
    count = 0
    try:
        for name, stream in _iter_members(path):
            with stream:
                left -= _copy(stream, folder / _safe_place(name, path), left)
            if left < 0:
                raise _archive_error(
                    path, f"unpacks to more than {_MOST_UNPACKED_RATIO} times its size"
                )
            count += 1
    except (*BROKEN_DATA_ERRORS, tarfile.TarError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        after = format_quantity(count, "file")
        raise _archive_error(
            path, f"broken or of an unknown kind after {after} of it ({error}); unpack it yourself"
        ) from error
    if not count:
        raise _archive_error(path, "no files in it")


def _copy(stream: IO[bytes], target: Path, most: int) -> int:
    """Write a stream to a file, up to a little more than `most` bytes; returns their number."""
    target.parent.mkdir(parents=True, exist_ok=True)
    copied = 0
    with target.open("wb") as file:
        while copied <= most and (chunk := stream.read(_COPY_BYTES)):
            copied += file.write(chunk)
    return copied


def _iter_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The names and contents of the files in an archive; links and devices are left out."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as zipped:
            for member in zipped.infolist():
                linked = stat.S_ISLNK(member.external_attr >> 16)
                if is_data_member(member.filename) and not linked:
                    check_zip_member(member, path)
                    yield member.filename, zipped.open(member)
        return
    with tarfile.open(path) as tar:
        for entry in tar:
            stream = tar.extractfile(entry) if entry.isfile() else None
            if stream is not None and is_data_member(entry.name):
                yield entry.name, stream


def _safe_place(name: str, path: Path) -> PurePosixPath:
    """Where a member goes below the folder; UserError if it would lie outside."""
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts:
        raise _archive_error(path, f"its file '{name}' would lie outside its folder")
    return place


def _archive_error(path: Path, problem: str) -> UserError:
    return UserError(problem, key="data.source.path", value=path)
