"""Writes the tokens of a split in shards: the one that grows lies on this machine, and goes to its
folder or storage when it is full.

After a stop at any moment the journal of the tokenising says how far it had come
(`src/data/tokenization/tokenize.py`). So nothing of this machine that the last entry of the journal
counts on is taken away or written over: a growing shard has files of its own, and these go when
the second entry after it is being made.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

import numpy as np

from src.core.files import fsync_path, write_text
from src.core.object_folder import ObjectFolder
from src.data.shards.manifest import (
    MANIFEST_FILE,
    ShardEntry,
    ShardManifest,
    name_shard,
    read_entries,
)
from src.data.tokenization.text_encoder import EncodedTexts
from src.data.tokenization.token_store import TextRow

_ENTRIES_FILE = "entries.jsonl"
COUNTS_FILE = "counts.npy"


class ShardWriter:
    """Writes shards document by document, as `TokenStoreWriter` writes a store.

    Args:
        place: a folder on this machine for what grows and, at the end, the manifest and how often
            each token occurs (`COUNTS_FILE`, [V]).
        folder: where full shards go.
        key: names the content.
        state: what `sync_state` had returned, to go on from there.
    """

    def __init__(
        self,
        place: Path,
        folder: ObjectFolder,
        key: str,
        *,
        vocab_size: int,
        shard_tokens: int,
        state: dict[str, int] | None = None,
    ) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self._place, self._folder, self._key = place, folder, key
        self._shard_tokens = shard_tokens
        self._dtype = np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)
        state = state or {"rows": 0, "tokens": 0, "cut": 0, "documents": 0}
        self.num_rows, self.num_tokens = state["rows"], state["tokens"]
        self.num_truncated = state["cut"]
        # that begin in the shard that grows
        self._documents = state["documents"]
        self._entries = self._read_entries()
        self._counts = np.zeros(vocab_size, dtype=np.int64)
        if self.num_tokens:
            self._counts = np.load(self._counts_file(self.num_tokens))
        self._open_growing_shard()
        # of the last entry of the journal: its shard and its tokens
        self._synced = (self._number, self.num_tokens)

    @property
    def _number(self) -> int:
        """Of the shard that grows."""
        return self.num_tokens // self._shard_tokens

    @property
    def _filled(self) -> int:
        """Tokens in it."""
        return self.num_tokens % self._shard_tokens

    def _read_entries(self) -> list[ShardEntry]:
        """Those of the full shards, without any that came after the state."""
        file = self._place / _ENTRIES_FILE
        lines = file.read_text().splitlines()[: self._number] if file.exists() else []
        write_text(file, "".join(f"{line}\n" for line in lines), fsync=True)
        assert len(lines) == self._number
        return list(read_entries(map(json.loads, lines)))

    def _counts_file(self, tokens: int) -> Path:
        return self._place / f"counts-{tokens}.npy"

    def _open_growing_shard(self) -> None:
        """Open the files of the shard that grows, and drop what came after the state."""
        self._ids = self._open_file("ids", self._filled * self._dtype.itemsize)
        self._begins = self._open_file("begins", 8 * self._documents)
        fsync_path(self._place)

    def _open_file(self, name: str, size: int) -> IO[bytes]:
        file = self._place / f"{self._number:06d}.{name}"
        stream = file.open("r+b" if size else "w+b")
        stream.truncate(size)
        stream.seek(0, os.SEEK_END)
        return stream

    def append_rows(self, rows: Sequence[TextRow], encoded: EncodedTexts) -> None:
        """Append documents with their ids; a shard that is full goes to its folder."""
        ids = encoded.ids.astype(self._dtype, copy=False)
        ends = np.cumsum(encoded.lengths)
        begins = ends - encoded.lengths
        self._counts += np.bincount(ids, minlength=len(self._counts))
        self.num_rows += len(rows)
        self.num_truncated += encoded.num_truncated
        done = 0
        while done < len(ids):
            filled = self._filled
            end = min(done + self._shard_tokens - filled, len(ids))
            here = begins[begins.searchsorted(done) : begins.searchsorted(end)] - done + filled
            self._ids.write(ids[done:end].tobytes())
            self._begins.write(here.astype(np.int64).tobytes())
            self._documents += len(here)
            if filled + end - done == self._shard_tokens:
                self._publish_shard(self._shard_tokens)
                self.num_tokens += end - done
                self._documents = 0
                self._open_growing_shard()
            else:
                self.num_tokens += end - done
            done = end

    def _publish_shard(self, tokens: int) -> None:
        """Put the shard that grows into its folder, and note what it holds."""
        self.close_files()
        content = b"".join(
            (self._place / f"{self._number:06d}.{name}").read_bytes() for name in ("begins", "ids")
        )
        entry = ShardEntry(tokens, self._documents, hashlib.sha256(content).hexdigest())
        self._folder.write(name_shard(self._key, self._number), content)
        with (self._place / _ENTRIES_FILE).open("a") as file:
            file.write(f"{json.dumps(entry)}\n")
            file.flush()
            os.fsync(file.fileno())
        self._entries.append(entry)

    def sync_state(self) -> dict[str, int]:
        """Bring everything to the disk, and return how far it has come."""
        for stream in (self._ids, self._begins):
            stream.flush()
            os.fsync(stream.fileno())
        with self._counts_file(self.num_tokens).open("wb") as file:
            np.save(file, self._counts)
            file.flush()
            os.fsync(file.fileno())
        number, tokens = self._synced
        kept = {self._counts_file(count) for count in (tokens, self.num_tokens)}
        for path in self._place.iterdir():
            is_old = path.stem.isdecimal() and int(path.stem) < number
            if is_old or (path.suffix == ".npy" and path not in kept):
                path.unlink()
        fsync_path(self._place)
        self._synced = (self._number, self.num_tokens)
        return {
            "rows": self.num_rows,
            "tokens": self.num_tokens,
            "cut": self.num_truncated,
            "targets": 0,
            "documents": self._documents,
        }

    def finish_store(self) -> None:
        """Put the last shard into its folder and write the manifest."""
        if self._filled:
            self._publish_shard(self._filled)
        self.close_files()
        ShardManifest(
            key=self._key,
            id_dtype=self._dtype.name,
            shard_tokens=self._shard_tokens,
            rows=self.num_rows,
            tokens=self.num_tokens,
            cut=self.num_truncated,
            shards=tuple(self._entries),
        ).write(self._place)
        np.save(self._place / COUNTS_FILE, self._counts)

    def close_files(self) -> None:
        """Close the files as they are; another writer may go on with them."""
        self._ids.close()
        self._begins.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_files()


def remove_growing_files(place: Path) -> None:
    """Leave of the folder of a `ShardWriter` what it has made. Called when no journal counts on the
    rest any more.
    """
    for path in place.iterdir():
        if path.name not in (MANIFEST_FILE, COUNTS_FILE):
            path.unlink()
