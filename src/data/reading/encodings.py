"""Which of several encodings a file has; some files of a folder may have another than the rest."""

import codecs
from collections.abc import Sequence
from typing import NamedTuple

from src.data.reading.decoding import InputFile, decodes


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
        if decodes(file, name):
            return FileEncoding(name, None if name == first else _describe_choice(first, name))
    return FileEncoding(others[-1], _describe_choice(first, others[-1]))


def _describe_choice(first: str, name: str) -> str:
    return f"in files that are not {first}, read as {name}"


def _find_remark(file: InputFile, encoding: str) -> str | None:
    if codecs.lookup(encoding).name.startswith("utf") or not decodes(file, "utf-8"):
        return None
    if decodes(file, "ascii"):
        return None
    return (
        f"in files that seem to be utf-8, read as {encoding}: "
        f"data.source.encoding=[utf-8,{encoding}] reads them as utf-8"
    )
