"""Files that are packed one by one: `.gz`, `.bz2`, `.xz`, and `.zip` with one file in it."""

import bz2
import gzip
import lzma
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from src.core.user_errors import UserError

# The name of each kind of packing, by its suffix.
PACKINGS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zip": "zip"}
PACKED_SUFFIXES = tuple(PACKINGS)
# The ways of packing that zipfile reads (Zstandard from Python 3.14 on), and the bit of a member
# that holds changes of another file.
_ZIP_WAYS = {
    *(zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA),
    getattr(zipfile, "ZIP_ZSTANDARD", zipfile.ZIP_STORED),
}
_PATCHED = 0x20
# What reading packed data that are broken raises; of OSErrors those without a number.
BROKEN_DATA_ERRORS = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError)


def strip_packed_suffix(name: str) -> str:
    """A file's name without the suffix of its packing: "train.csv" of "train.csv.gz"."""
    return name[: -len(Path(name).suffix)] if is_packed(Path(name)) else name


def is_packed(path: Path) -> bool:
    return path.suffix.lower() in PACKED_SUFFIXES


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked.

    Raises:
        UserError: a zip file that holds no file, several, or one that is encrypted or packed in an
            unknown way.
    """
    match path.suffix.lower():
        case ".gz":
            return gzip.open(path, "rb")  # type: ignore[return-value]
        case ".bz2":
            return bz2.open(path, "rb")
        case ".xz":
            return lzma.open(path, "rb")
        case ".zip":
            return _open_zipped_file(path)
        case _:
            return path.open("rb")


def _open_zipped_file(path: Path) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        members = [one for one in archive.infolist() if is_data_member(one.filename)]
        if len(members) != 1:
            raise UserError(
                f"{path.name} holds {len(members)} files and stands beside others; unpack it, or "
                "give it alone",
                key="data.source.path",
                value=path,
            )
        check_zip_member(members[0], path)
        # the stream keeps the file open that its archive was opened for
        return archive.open(members[0])


def is_data_member(name: str) -> bool:
    """Whether a member of an archive is a file, and none that a system put there."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return not name.endswith("/") and not any(
        part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts
    )


def check_zip_member(member: zipfile.ZipInfo, path: Path) -> None:
    """Raise UserError for a member that needs a password, or is packed in an unknown way."""
    problem = None
    if member.flag_bits & 1:
        problem = "is encrypted; unpack it with its password"
    elif member.compress_type not in _ZIP_WAYS or member.flag_bits & _PATCHED:
        problem = "is packed in a way that Python does not know; unpack it yourself"
    if problem:
        raise UserError(f"'{member.filename}' {problem}", key="data.source.path", value=path)
