"""Lines of text from a file's bytes: unpacked and decoded, with file and line in every error."""

import codecs
import io
import re
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from src.core.user_errors import UserError
from src.data.reading.packed_files import BROKEN_DATA_ERRORS, PACKINGS, open_binary

_BLOCK_BYTES = 1 << 16
_SAMPLE_BYTES = 1 << 18
_MOST_BYTES = 1 << 26
# Of letters with accents and signs among all bytes of a text in a language of Western Europe.
_WESTERN_SHARE = 0.12
# Of fewer letters beyond ASCII nothing is told.
_LEAST_LETTERS = 30
_OTHER_ENCODINGS = (
    *("cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp866", "koi8_r", "tis_620"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
)
_CONTROL_BYTES = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")
# Formats that are sometimes mistaken for text, by their first bytes.
_FORMAT_BY_FIRST_BYTES = {
    b"\x1f\x8b": "gzip data, whose name must end in .gz",
    b"BZh": "bzip2 data, whose name must end in .bz2",
    b"\xfd7zXZ": "xz data, whose name must end in .xz",
    b"PK\x03\x04": "a zip file, whose name must end in .zip, or in .xlsx for a spreadsheet",
    b"\xd0\xcf\x11\xe0": "an old or encrypted file of Office; save the table as .xlsx or CSV",
    b"PAR1": "Parquet: data.source.format=parquet",
    b"7z\xbc\xaf": "a 7z archive; unpack it and give the folder",
    b"Rar!": "a RAR archive; unpack it and give the folder",
    b"%PDF": "a PDF file; expected plain text",
    b"SQLite": "an SQLite database; expected plain text",
    b"ARROW1": "an Arrow or Feather file; save the table as Parquet",
    b"\xff\xff\xff\xff": "an Arrow stream; save the table as Parquet",
    b"\x93NUMPY": "a NumPy array; save the table as Parquet or CSV",
    b"\x89HDF": "an HDF5 file; save the table as Parquet or CSV",
    **{
        bytes([0x80, protocol]): "a pickle, which could run code; save the table as Parquet or CSV"
        for protocol in range(2, 6)
    },
    b"\xff\xfe": "UTF-16: data.source.encoding=utf-16",
    b"\xfe\xff": "UTF-16: data.source.encoding=utf-16",
}


# What `errors="surrogateescape"` makes of bytes that do not decode.
_UNDECODED = re.compile("[\udc80-\udcff]")
# Text that is no data, by how it begins, in small letters.
_WEB_PAGE = "a web page (HTML), perhaps an error or a login; get the file itself"
_FORMAT_BY_FIRST_WORDS = {
    b"<!doctype html": _WEB_PAGE,
    b"<html": _WEB_PAGE,
    b"<table": f"{_WEB_PAGE}, or save the table as CSV",
    b"#format=webanno": "WebAnno TSV, which is not read; export it as CoNLL 2002, which is",
    b"version https://git-lfs": "a pointer of Git LFS; `git lfs pull` gets the file itself",
}


class InputFile(NamedTuple):
    """A file to read.

    Args:
        name: how messages call it.
        label: the name of its folder, if folders are classes.
        member: the key of its rows, where a JSON file holds several tables.
        labels: the file that has the label of each of its lines, on the same line.
    """

    path: Path
    name: str
    label: str | None = None
    member: str | None = None
    labels: Path | None = None


def read_text_lines(
    file: InputFile, encoding: str, newline: str | None = None, *, keep_bad: bool = False
) -> Generator[str]:
    """Iterate over the lines of a text file, line ends included; packed files are unpacked.

    A UTF-8 file may begin with a byte order mark.

    Args:
        newline: as in `open`: None turns Windows line ends into "\\n", "" leaves them.
        keep_bad: also yield lines for which `find_line_error` has an error.

    Raises:
        UserError: the file cannot be decoded or unpacked, or holds a NUL character, which is the
            mark of a binary file or of UTF-16 read as something else.
    """
    count = 0
    try:
        with (
            open_binary(file.path) as raw,
            io.TextIOWrapper(
                raw,
                bom_aware_encoding(encoding),
                "surrogateescape" if keep_bad else "strict",
                newline,
            ) as stream,
        ):
            for count, line in enumerate(stream, start=1):
                if "\0" in line and not keep_bad:
                    other = (
                        detect_other_format(file)
                        or f"not text in {encoding} (data.source.encoding=utf-16 reads UTF-16)"
                    )
                    raise UserError(f"{file.name}, line {count}: a NUL character; this is {other}")
                yield line
    except UnicodeDecodeError as error:
        raise UserError(_decoding_error_message(file, encoding)) from error
    except UnicodeError as error:
        # UTF-16 or UTF-32 without a byte order mark
        raise UserError(
            f"{file.name}: this is not {encoding} ({error}); data.source.encoding=NAME"
        ) from error
    except BROKEN_DATA_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        packing = PACKINGS.get(file.path.suffix.lower(), "packed")
        raise UserError(
            f"{file.name}: broken {packing} data after line {count} ({error}); the file is cut "
            "off or damaged, "
            "copy or download it again"
        ) from error


def find_line_error(line: str, encoding: str, where: str) -> UserError | None:
    """What is wrong with a line, or with several in one text, read with `keep_bad`."""
    if "\0" in line:
        return UserError(f"{where}: a NUL character")
    if not line.isascii() and (found := _UNDECODED.search(line)):
        return UserError(
            f"{where}: byte {ord(found[0]) - 0xDC00:#04x} is not {encoding} "
            "(data.source.encoding=NAME)"
        )
    return None


def bom_aware_encoding(encoding: str) -> str:
    """The codec that also reads the byte order mark with which a UTF-8 file may begin."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def detect_other_format(file: InputFile) -> str | None:
    """The format that a file's first bytes show; None if they look like text."""
    with open_binary(file.path) as raw:
        head = raw.read(8)
    found = (words for mark, words in _FORMAT_BY_FIRST_BYTES.items() if head.startswith(mark))
    return next(found, None) or detect_no_data(file)


def detect_no_data(file: InputFile) -> str | None:
    """What a file of text is, instead of data, as its first words show; None if they do not."""
    with open_binary(file.path) as raw:
        try:
            head = raw.read(512).removeprefix(codecs.BOM_UTF8).lstrip().lower()
        except BROKEN_DATA_ERRORS:
            # reading tells what is broken
            return None
    return next(
        (words for mark, words in _FORMAT_BY_FIRST_WORDS.items() if head.startswith(mark)), None
    )


def guess_encoding(file: InputFile) -> str | None:
    """The likeliest encoding of a file that is no UTF-8; None if it is, but for some bytes, and of
    one that is no text.

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
    if head.startswith(codecs.BOM_UTF8) or _CONTROL_BYTES.search(head) is not None:
        return None
    if decodes(file, "utf-8", _MOST_BYTES):
        return None
    known = head.decode("utf-8", "replace")
    broken = known.count("\ufffd")
    if sum(character > "\x7f" for character in known) > 2 * broken:
        # UTF-8 with some bytes that are none
        return None
    others = sum(byte > 0x7F for byte in head)
    if others < max(_WESTERN_SHARE * len(head), _LEAST_LETTERS):
        return "cp1252" if decodes(file, "cp1252") else "latin-1"
    from charset_normalizer import from_bytes

    lines = head[: head.rfind(b"\n") + 1] or head
    found = from_bytes(lines, cp_isolation=list(_OTHER_ENCODINGS)).best()
    return None if found is None else str(found.encoding)


def decodes(file: InputFile, encoding: str, most: int | None = None) -> bool:
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


def _decoding_error_message(file: InputFile, encoding: str) -> str:
    """The message for a file that does not decode, with line and position.

    The file is read again, since the failed stream only knew positions in its buffer.
    """
    if other := detect_other_format(file):
        return f"{file.name}: this is {other}"
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder(bom_aware_encoding(encoding))(), translate=True
    )
    offset, line = 0, 1
    with open_binary(file.path) as raw:
        while True:
            chunk = raw.read(1 << 16)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                # error.object is the chunk with what the decoder still held before it, and ends
                # where the chunk ends
                sound = len(chunk) - len(error.object) + error.start
                line += decoder.decode(chunk[: max(sound, 0)]).count("\n")
                guess, others = guess_encoding(file), ""
                name = "NAME" if guess in (None, encoding) else guess
                what = "name the file's encoding:" if name == "NAME" else "perhaps"
                if codecs.lookup(encoding).name == "utf-8":
                    others = f", or data.source.encoding=[utf-8,{name}] if only some files have it"
                return (
                    f"{file.name}, line {line}: byte {error.object[error.start]:#04x} at position "
                    f"{offset + sound} of "
                    f"the file is not {encoding} ({error.reason}); {what} "
                    f"data.source.encoding={name}{others}"
                )
            offset += len(chunk)
