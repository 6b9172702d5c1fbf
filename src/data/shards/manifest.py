"""The manifest of a corpus in shards: what each shard must hold. It is written last.

A shard is one file: where documents begin in it (int64), and behind them its ids. All shards have
the same number of tokens but the last one, so that a token's place says its shard.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from src.core.files import write_json
from src.core.user_errors import UserError
from src.data.tokenization.sequence_starts import read_spans

MANIFEST_FILE = "shards.json"
_ID_DTYPES = ("uint16", "uint32")


class ShardEntry(NamedTuple):
    """What a shard must hold."""

    tokens: int
    documents: int  # that begin in it
    sha256: str

    def is_content(self, content: bytes) -> bool:
        return hashlib.sha256(content).hexdigest() == self.sha256


class OpenShard(NamedTuple):
    """A shard, mapped into memory."""

    ids: np.ndarray  # [T]
    begins: np.ndarray  # where documents begin, counted from the beginning of the shard

    def read_spans(self, begins: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of this shard, as `sequence_starts.read_spans` says."""
        return read_spans(self.ids, self.begins, begins, length)


@dataclass(frozen=True)
class ShardManifest:
    """The shards of a corpus.

    Args:
        key: names the content; the shards lie in the folder `shards/KEY`.
        id_dtype: the type of an id.
        shard_tokens: of each shard but the last.
        rows: documents of the corpus.
        tokens: of the corpus.
        cut: documents that were cut to length.
    """

    key: str
    id_dtype: str
    shard_tokens: int
    rows: int
    tokens: int
    cut: int
    shards: tuple[ShardEntry, ...]

    def name_shard(self, number: int) -> str:
        return name_shard(self.key, number)

    def count_bytes(self, number: int) -> int:
        """The size of a shard."""
        tokens, documents, _ = self.shards[number]
        return 8 * documents + np.dtype(self.id_dtype).itemsize * tokens

    def map_shard(self, number: int, file: Path) -> OpenShard:
        """Map the file of a shard into memory.

        Raises:
            UserError: it has another size.
            FileNotFoundError: it is not there.
        """
        if (size := file.stat().st_size) != self.count_bytes(number):
            raise UserError(
                f"has {size} bytes of {self.count_bytes(number)}",
                where=file,
                key="data.shards.path",
                hint="it is none of the shards of this corpus",
                colon=False,
            )
        content = np.memmap(file, dtype=np.uint8, mode="r").view(np.ndarray)
        edge = 8 * self.shards[number].documents
        return OpenShard(content[edge:].view(self.id_dtype), content[:edge].view(np.int64))

    def write(self, folder: Path) -> None:
        write_json(folder / MANIFEST_FILE, asdict(self), fsync=True)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` has written. Raises UserError if it is broken."""
        file = folder / MANIFEST_FILE
        try:
            content: dict[str, Any] = json.loads(file.read_text())
            shards = read_entries(content.pop("shards"))
            manifest = cls(**content, shards=shards)
            if manifest.id_dtype not in _ID_DTYPES or manifest.tokens != sum(
                shard.tokens for shard in shards
            ):
                raise ValueError("tokens")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{file} is broken; delete the folder") from error
        return manifest


def read_entries(values: Iterable[Any]) -> tuple[ShardEntry, ...]:
    """Entries of shards from plain values."""
    return tuple(
        ShardEntry(int(tokens), int(documents), str(digest)) for tokens, documents, digest in values
    )


def name_shard(key: str, number: int) -> str:
    """The name of an object that holds a shard."""
    return f"shards/{key}/{number:06d}.bin"
