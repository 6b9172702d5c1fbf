"""Tokenised text on disk: one flat memory map of ids, and where each row begins.

Shape legend: N rows (texts or pairs), T tokens of all of them, C classes.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from src.core.dataset_info import Task
from src.core.entity_tags import END_OF_TEXT
from src.core.files import fsync_path
from src.core.user_errors import UserError
from src.data.tokenization.sequence_starts import read_spans
from src.data.tokenization.text_encoder import NO_TOKEN, EncodedTexts

_ALLOWED_DTYPES = {
    "ids": ("uint16", "uint32"),
    "offsets": ("int64",),
    "begins": ("int32",),
    "targets": ("int64", "float32", "uint8"),
    "identities": ("int64",),
}
_BLOCK_TOKENS = 1 << 20
# of a store whose rows have a target for each word
_WORD_DTYPES = {"target_offsets": ("int64",), "target_tokens": ("int32",)}


@dataclass(frozen=True, slots=True)
class TextRow:
    """One text on its way into the store."""

    text: str
    pair: str | None
    # class index or value; 0 where there is none; a tuple [C] where a text has several labels, or
    # with a class index for each word
    target: int | float | tuple[int, ...]
    # number of the row in its source, from 0; predictions are filed under it
    identity: int
    # where the words begin and end in the text, if they have targets
    words: tuple[tuple[int, int], ...] | None = None


class TargetLayout(NamedTuple):
    """What a store holds for each row.

    Args:
        dtype: int64 for a class index, float32 for a value, uint8 for several labels.
        width: C, where there is a 0 or 1 for each class; None where there is one number.
        of_words: whether each word has a class index; END_OF_TEXT stands behind those of a row.
    """

    dtype: Literal["int64", "float32", "uint8"] = "int64"
    width: int | None = None
    of_words: bool = False

    @classmethod
    def of_task(cls, task: Task, num_labels: int) -> "TargetLayout":
        match task:
            case "regression":
                return cls("float32")
            case "multi_label":
                return cls("uint8", num_labels)
            case "token_classification":
                return cls(of_words=True)
            case _:
                return cls()


# compared by identity: arrays make no truth value
@dataclass(frozen=True, eq=False)
class TokenStore:
    """A tokenised split, opened for reading. Its arrays are memory maps: only what is read takes
    memory.
    """

    folder: Path
    ids: np.ndarray  # [T] uint16 or uint32
    offsets: np.ndarray  # [N + 1] int64, where each row begins; the last is T
    begins: np.ndarray  # [N] int32, where the second segment begins, as in `EncodedTexts`
    targets: np.ndarray  # [N] int64 classes or float32 values, [N, C] uint8, or [S] of words
    identities: np.ndarray  # [N] int64
    # rows that were cut to length
    num_truncated: int
    # of words with targets: where those of each row begin, [N + 1], and the place of each one's
    # first token in its row [S] (`EncodedTexts.word_tokens`; NO_TOKEN at the end of a row)
    target_offsets: np.ndarray | None = None
    target_tokens: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_tokens(self) -> int:
        """T."""
        return int(self.offsets[-1])

    def count_tokens(self, vocab_size: int) -> np.ndarray:
        """How often each id of the vocabulary occurs, [V] int64."""
        counts = np.zeros(vocab_size, dtype=np.int64)
        # read from the file and not mapped: a block that is no longer used takes no memory
        with (self.folder / "ids.bin").open("rb") as file:
            while len(ids := np.fromfile(file, self.ids.dtype, _BLOCK_TOKENS)):
                counts += np.bincount(ids, minlength=vocab_size)
        return counts

    def order_rows(self, row_tokens: int, seed: int) -> None:
        """The order in which packed rows are trained on: any, since all are at hand."""

    def read_spans(self, begins: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows that are cut out of the documents, as `sequence_starts.read_spans` says."""
        return read_spans(self.ids, self.offsets, begins, length)

    @classmethod
    def open(cls, folder: Path) -> "TokenStore":
        """Open the store in a folder. Raises UserError if its header is broken."""
        header: dict[str, Any] = json.loads((folder / "store.json").read_text())
        dtypes = header["columns"]
        known = _ALLOWED_DTYPES | (_WORD_DTYPES if "target_tokens" in dtypes else {})
        if dtypes.keys() != known.keys() or not all(
            dtype in known[name] for name, dtype in dtypes.items()
        ):
            raise UserError(
                f"{folder}/store.json is broken: its columns are {dtypes}; delete the folder"
            )
        columns = {
            name: _map_array(folder / f"{name}.bin", dtype) for name, dtype in dtypes.items()
        }
        if (width := header["target_width"]) is not None:
            columns["targets"] = columns["targets"].reshape(-1, width)
        return cls(folder=folder, num_truncated=header["cut"], **columns)


def _map_array(file: Path, dtype: str) -> np.ndarray:
    """The array in a file, as a plain view of the memory map: a slice of `np.memmap` itself costs
    microseconds.
    """
    if not file.stat().st_size:
        # an empty file cannot be mapped
        return np.zeros(0, dtype=dtype)
    return np.memmap(file, dtype=dtype, mode="r").view(np.ndarray)


class TokenStoreWriter:
    """Writes a store row by row; the folder is a store only after `finish_store`.

    `sync_state` returns in plain values how far the writing has come. A writer that is given this
    `state` goes on from there and drops whatever was written after it.
    """

    def __init__(
        self,
        folder: Path,
        vocab_size: int,
        *,
        targets: TargetLayout,
        state: dict[str, int] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._target_width = folder, targets.width
        self._of_words = targets.of_words
        self._dtypes = {
            "ids": np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32),
            "offsets": np.dtype(np.int64),
            "begins": np.dtype(np.int32),
            "targets": np.dtype(targets.dtype),
            "identities": np.dtype(np.int64),
        }
        if self._of_words:
            self._dtypes |= {name: np.dtype(dtype) for name, (dtype,) in _WORD_DTYPES.items()}
        state = state or {"rows": 0, "tokens": 0, "cut": 0, "targets": 0}
        self.num_rows, self.num_tokens = state["rows"], state["tokens"]
        self.num_truncated, self.num_targets = state["cut"], state["targets"]
        counts = dict.fromkeys(self._dtypes, self.num_rows)
        counts |= {"ids": self.num_tokens, "offsets": self.num_rows + 1}
        counts["targets"] *= targets.width or 1
        if self._of_words:
            counts |= dict.fromkeys(("targets", "target_tokens"), self.num_targets)
            counts["target_offsets"] = self.num_rows + 1
        self._files = {}
        for name, dtype in self._dtypes.items():
            file = (folder / f"{name}.bin").open("r+b" if self.num_rows else "w+b")
            if name in ("offsets", "target_offsets") and not self.num_rows:
                file.write(np.zeros(1, dtype).tobytes())
            file.truncate(counts[name] * dtype.itemsize)
            file.seek(0, os.SEEK_END)
            self._files[name] = file
        # the files' names: after a power failure, too, the files that a state counts on are there
        fsync_path(folder)

    @staticmethod
    def parse_state(state: Any) -> dict[str, int]:
        """A state that was read from a file. Raises KeyError, TypeError or ValueError if it is
        broken.
        """
        required = ("rows", "tokens", "cut", "targets")
        return {name: int(state[name]) for name in dict.fromkeys((*required, *state))}

    def append_rows(self, rows: Sequence[TextRow], encoded: EncodedTexts) -> None:
        """Append rows with the ids of each."""
        values = {
            "ids": encoded.ids,
            "offsets": self.num_tokens + np.cumsum(encoded.lengths),
            "begins": encoded.begins,
            "targets": [row.target for row in rows],
            "identities": [row.identity for row in rows],
        }
        if self._of_words:
            values |= self._arrange_words(rows, encoded)
        for name, dtype in self._dtypes.items():
            self._files[name].write(np.asarray(values[name]).astype(dtype, copy=False).tobytes())
        self.num_rows += len(rows)
        self.num_tokens += len(encoded.ids)
        self.num_truncated += encoded.num_truncated

    def _arrange_words(self, rows: Sequence[TextRow], encoded: EncodedTexts) -> dict[str, Any]:
        """The columns of words, in which each row ends on a mark."""
        assert encoded.word_tokens is not None
        counts = np.array([len(row.words or ()) for row in rows])
        ends = np.cumsum(counts)
        targets = np.fromiter(
            (index for row in rows for index in row.target),  # type: ignore[union-attr]
            np.int64,
            int(ends[-1]),
        )
        offsets = self.num_targets + ends + np.arange(1, len(rows) + 1)
        self.num_targets = int(offsets[-1])
        return {
            "targets": np.insert(targets, ends, END_OF_TEXT),
            "target_offsets": offsets,
            "target_tokens": np.insert(encoded.word_tokens, ends, NO_TOKEN),
        }

    def sync_state(self) -> dict[str, int]:
        """Bring everything to the disk, and return how far the store has come."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        return {
            "rows": self.num_rows,
            "tokens": self.num_tokens,
            "cut": self.num_truncated,
            "targets": self.num_targets,
        }

    def finish_store(self) -> None:
        """Write the header, which makes the folder a store, and close the files."""
        state = self.sync_state()
        self.close_files()
        columns = {name: dtype.name for name, dtype in self._dtypes.items()}
        header = {"columns": columns, "target_width": self._target_width, **state}
        (self._folder / "store.json").write_text(json.dumps(header))

    def close_files(self) -> None:
        """Close the files as they are; another writer may go on with them."""
        for file in self._files.values():
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_files()
