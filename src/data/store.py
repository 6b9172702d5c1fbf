"""Tokenised text on disk: one flat memory map of ids, and where each row begins.

Shape legend: N rows (texts or pairs), T tokens of all of them.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from src.data.encoding import Encoded
from src.terms.durable import sync
from src.terms.fault import Fault

_DTYPES = {
    "ids": ("uint16", "uint32"),
    "offsets": ("int64",),
    "begins": ("int32",),
    "targets": ("int64", "float32"),
    "identities": ("int64",),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One text on its way into the store."""

    text: str
    pair: str | None
    target: int | float  # class index or value; 0 where there is none
    identity: int  # place in its source, counted from 0: what predictions are filed under


@dataclass(frozen=True)
class TokenStore:
    """A tokenised split, opened for reading: memory maps, of which only what is read takes memory.

    ids [T] (uint16 or uint32), offsets [N + 1], begins [N] (where the second text starts; 0 without one),
    targets [N] (int64 classes or float32 values), identities [N].
    """

    folder: Path
    ids: np.ndarray
    offsets: np.ndarray
    begins: np.ndarray
    targets: np.ndarray
    identities: np.ndarray
    cut: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def tokens(self) -> int:
        return int(self.offsets[-1])

    def blocks(self, size: int = 1 << 20) -> Iterator[np.ndarray]:
        """All ids, so many at a time, read and not mapped: what has been seen takes no memory any more."""
        with (self.folder / "ids.bin").open("rb") as file:
            while len(ids := np.fromfile(file, self.ids.dtype, size)):
                yield ids

    @classmethod
    def open(cls, folder: Path) -> "TokenStore":
        about: dict[str, Any] = json.loads((folder / "store.json").read_text())
        given = about["columns"]
        if given.keys() != _DTYPES.keys() or not all(given[name] in _DTYPES[name] for name in given):
            raise Fault(f"{folder}/store.json is broken: its columns are {given}; delete the folder")
        columns = {name: _mapped(folder / f"{name}.bin", dtype) for name, dtype in given.items()}
        return cls(folder=folder, cut=about["cut"], **columns)


def _mapped(file: Path, dtype: str) -> np.ndarray:
    """The array in a file; a plain view of the map, because slices of `np.memmap` itself cost microseconds."""
    if not file.stat().st_size:
        return np.zeros(0, dtype=dtype)  # an empty file cannot be mapped
    return np.memmap(file, dtype=dtype, mode="r").view(np.ndarray)


class StoreWriter:
    """A store under way: rows are appended, and what is on disk is a store only once it is closed.

    `state` says in plain values how far it has come. A writer that is given it goes on from there, whatever has been
    written after it.
    """

    def __init__(self, folder: Path, vocab_size: int, *, valued: bool, state: dict[str, int] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._columns = {
            "ids": np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32),
            "offsets": np.dtype(np.int64),
            "begins": np.dtype(np.int32),
            "targets": np.dtype(np.float32 if valued else np.int64),
            "identities": np.dtype(np.int64),
        }
        state = state or dict.fromkeys(("rows", "tokens", "cut"), 0)
        self.rows, self.tokens, self.cut = state["rows"], state["tokens"], state["cut"]
        counts = dict.fromkeys(self._columns, self.rows) | {"ids": self.tokens, "offsets": self.rows + 1}
        self._files = {}
        for name, dtype in self._columns.items():
            file = (folder / f"{name}.bin").open("r+b" if self.rows else "w+b")
            if name == "offsets" and not self.rows:
                file.write(np.zeros(1, dtype).tobytes())
            file.truncate(counts[name] * dtype.itemsize)
            file.seek(0, os.SEEK_END)
            self._files[name] = file
        sync(folder)  # the files' names: what `state` says is to be found after a power failure, too

    @staticmethod
    def checked(state: Any) -> dict[str, int]:
        """A state that was read from a file. Raises KeyError, TypeError or ValueError where it is none."""
        return {name: int(state[name]) for name in ("rows", "tokens", "cut")}

    def append(self, rows: Sequence[Row], encoded: Encoded) -> None:
        """Rows, and the ids of each."""
        values = {
            "ids": encoded.ids,
            "offsets": self.tokens + np.cumsum(encoded.lengths),
            "begins": encoded.begins,
            "targets": [row.target for row in rows],
            "identities": [row.identity for row in rows],
        }
        for name, dtype in self._columns.items():
            self._files[name].write(np.asarray(values[name]).astype(dtype, copy=False).tobytes())
        self.rows += len(rows)
        self.tokens += len(encoded.ids)
        self.cut += encoded.cut

    def state(self) -> dict[str, int]:
        """How far the store has come; what it counts is on disk, even if the power fails now."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        return {"rows": self.rows, "tokens": self.tokens, "cut": self.cut}

    def close(self) -> None:
        """Make a store of what was appended."""
        self.state()
        self.release()
        columns = {name: dtype.name for name, dtype in self._columns.items()}
        about = {"columns": columns, "rows": self.rows, "tokens": self.tokens, "cut": self.cut}
        (self._folder / "store.json").write_text(json.dumps(about))

    def release(self) -> None:
        """Close the files and leave them as they are, to be gone on with."""
        for file in self._files.values():
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
