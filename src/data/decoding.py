"""From a file's bytes to its lines of text: unpacked, decoded, refused by file and line where it cannot be."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from src.terms.fault import Fault

_OTHERS = {  # by their first bytes: what is taken for text now and then
    b"\x1f\x8b": "gzip data, whose name must end in .gz",
    b"PK\x03\x04": "a zip file (.xlsx and .docx are too); unpack it, or save the table as CSV",
    b"PAR1": "Parquet: data.source.format=parquet",
    b"%PDF": "a PDF file; expected plain text",
    b"SQLite": "an SQLite database; expected plain text",
    b"\xff\xfe": "UTF-16: data.source.encoding=utf-16",
    b"\xfe\xff": "UTF-16: data.source.encoding=utf-16",
}


class File(NamedTuple):
    """A file to read, and how messages call it; `label` is its folder's name where a folder is a class."""

    path: Path
    name: str
    label: str | None = None


def lines(file: File, encoding: str, newline: str | None = None) -> Iterator[str]:
    """The lines of a text file, unpacked where its name ends in `.gz`, with their line ends.

    `newline` as in `open`: None turns Windows line ends into "\\n", "" leaves them. A UTF-8 file may open with a BOM.
    A NUL is refused: it marks a binary file or UTF-16 taken for something else, and no tokenizer has a use for it.
    """
    count = 0
    try:
        with _opened(file.path) as raw, io.TextIOWrapper(raw, _bom_aware(encoding), newline=newline) as stream:
            for count, line in enumerate(stream, start=1):
                if "\0" in line:
                    other = _other(file) or f"not text in {encoding} (data.source.encoding=utf-16 reads UTF-16)"
                    raise Fault(f"{file.name}, line {count}: a NUL character; this is {other}")
                yield line
    except UnicodeDecodeError as error:
        raise Fault(_undecodable(file, encoding)) from error
    except UnicodeError as error:  # UTF-16 and UTF-32 that open without a byte order mark
        raise Fault(f"{file.name}: this is not {encoding} ({error}); data.source.encoding=NAME") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Fault(
            f"{file.name}: broken gzip data after line {count} ({error}); the file is cut off or damaged, "
            "copy or download it again"
        ) from error


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _bom_aware(encoding: str) -> str:
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _other(file: File) -> str | None:
    """What a file is by its first bytes, where that is no text in an encoding of single bytes."""
    with _opened(file.path) as raw:
        head = raw.read(8)
    return next((words for mark, words in _OTHERS.items() if head.startswith(mark)), None)


def _undecodable(file: File, encoding: str) -> str:
    """The message for a file that does not decode. Reads again: the stream that failed only knew its own buffer."""
    if other := _other(file):
        return f"{file.name}: this is {other}"
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(_bom_aware(encoding))(), translate=True)
    offset, line = 0, 1
    with _opened(file.path) as raw:
        while True:
            chunk = raw.read(1 << 16)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                # error.object is the chunk with what the decoder still held before it, and ends where the chunk ends
                sound = len(chunk) - len(error.object) + error.start
                line += decoder.decode(chunk[: max(sound, 0)]).count("\n")
                return (
                    f"{file.name}, line {line}: byte {error.object[error.start]:#04x} at position {offset + sound} of "
                    f"the file is not {encoding} ({error.reason}); name the file's encoding: data.source.encoding=NAME"
                )
            offset += len(chunk)
