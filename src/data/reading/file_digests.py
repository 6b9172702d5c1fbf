"""What the contents of files and the options of their reading are told apart by."""

import hashlib
import json
from typing import Any

from src.data.reading.decoding import InputFile


def hash_input_file(file: InputFile) -> list[str | None]:
    """The class and the place inside an archive that a file stands for, with the SHA-256 of its
    bytes and of those of the file of its labels, if it has one.
    """
    found = [file.label, file.member]
    for path in (file.path, *([] if file.labels is None else [file.labels])):
        with path.open("rb") as stream:
            found.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return found


def hash_as_json(content: dict[str, Any]) -> str:
    """SHA-256, in hex, of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
