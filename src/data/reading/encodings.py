"""Which of several encodings a file has; some files of a folder may have another than the rest."""

import codecs
from collections.abc import Sequence
from typing import NamedTuple

from src.data.reading.decoding import InputFile, bom_aware_encoding
from src.data.reading.packed_files import BROKEN_DATA_ERRORS, open_binary

_BLOCK_BYTES = 1 << 16
_SAMPLE_BYTES = 1 << 18
_MOST_BYTES = 1 << 26
# Of letters with accents and signs among all bytes of a text in a language of Western Europe.
_WESTERN_SHARE = 0.12


class FileEncoding(NamedTuple):
    """The encoding in which a file is read, and a remark where that should be known."""

    name: str
    remark: str | None = None


def choose_encoding(file: InputFile, encodings: Sequence[str]) -> FileEncoding:
    """The first encoding that fits the whole file; the last where none does.

    A single encoding is taken as it is, with a remark if the file seems to be UTF-8.
    """
    first, *others = encodings
    if not others:
        return FileEncoding(first, _find_remark(file, first))
    for name in encodings[:-1]:
        if _decodes(file, name):
            return FileEncoding(name, None if name == first else _describe_choice(first, name))
    return FileEncoding(others[-1], _describe_choice(first, others[-1]))


def _describe_choice(first: str, name: str) -> str:
    return f"in files that are not {first}, read as {name}"


def _find_remark(file: InputFile, encoding: str) -> str | None:
    if codecs.lookup(encoding).name.startswith("utf") or not _decodes(file, "utf-8"):
        return None
    if _decodes(file, "ascii"):
        return None
    return (
        f"in files that seem to be utf-8, read as {encoding}: "
        f"data.source.encoding=[utf-8,{encoding}] reads them as utf-8"
    )


def guess_encoding(file: InputFile) -> str | None:
    """The likeliest encoding of a file that is no UTF-8; None if it is, or is no text.

    A byte order mark says it. Text with few letters beyond ASCII is taken for a Western European
    one (cp1252); of other text `charset_normalizer` guesses.
    """
    with open_binary(file.path) as raw:
        try:
            head = raw.read(_SAMPLE_BYTES)
        except BROKEN_DATA_ERRORS:
            return None
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head or _decodes(file, "utf-8", _MOST_BYTES):
        return None
    others = sum(byte > 0x7F for byte in head)
    if others < _WESTERN_SHARE * len(head):
        return "cp1252" if _decodes(file, "cp1252") else "latin-1"
    from charset_normalizer import from_bytes

    found = from_bytes(head[: head.rfind(b"\n") + 1] or head).best()
    return None if found is None else str(found.encoding)


def _decodes(file: InputFile, encoding: str, most: int | None = None) -> bool:
    """Whether a file is text in an encoding from its first byte to its last, or in about the first
    `most` bytes.
    """
    read = 0
    decoder = codecs.getincrementaldecoder(bom_aware_encoding(encoding))()
    try:
        with open_binary(file.path) as raw:
            while block := raw.read(_BLOCK_BYTES):
                decoder.decode(block)
                read += len(block)
                if most is not None and read > most:
                    return True
            decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    except BROKEN_DATA_ERRORS as error:
        # reading tells where they are broken
        if isinstance(error, OSError) and error.errno is not None:
            raise
    return True
