"""Tokenised text on disk: one flat memory map of ids, and where each row begins.

Shape legend: N rows (texts or pairs), T tokens of all of them.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from src.data.tokenizer import TextTokenizer, Truncation

CHUNK = 1000  # texts tokenised in one call: large enough for all cores, small enough to show progress


@dataclass(frozen=True)
class Row:
    """One text on its way into the store."""

    text: str
    pair: str | None
    target: int | float  # class index or value; 0 where there is none
    identity: int  # place in its source, counted from 0: what predictions are filed under


@dataclass(frozen=True)
class TokenStore:
    """A tokenised split, opened for reading.

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

    @classmethod
    def open(cls, folder: Path) -> "TokenStore":
        about: dict[str, Any] = json.loads((folder / "store.json").read_text())
        columns = {name: np.load(folder / f"{name}.npy") for name in ("offsets", "begins", "targets", "identities")}
        tokens = int(columns["offsets"][-1])
        ids = np.memmap(folder / "ids.bin", dtype=about["dtype"], mode="r", shape=(tokens,)) if tokens else np.zeros(0)
        return cls(folder=folder, ids=ids, cut=about["cut"], **columns)


def write(
    folder: Path,
    rows: Iterable[Row],
    tokenizer: TextTokenizer,
    *,
    max_tokens: int | None,
    truncation: Truncation,
    title: str,
) -> None:
    """Tokenise rows into `folder`, in one pass and constant memory but for a few numbers per row."""
    folder.mkdir(parents=True, exist_ok=True)
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    lengths: list[int] = []
    begins: list[int] = []
    targets: list[int | float] = []
    identities: list[int] = []
    cut = 0
    with (
        (folder / "ids.bin").open("wb") as sink,
        tqdm(desc=f"tokenise {title}", unit=" texts", delay=1, disable=None) as bar,
    ):
        for chunk in _chunks(rows, CHUNK):
            pairs = [row.pair or "" for row in chunk] if chunk[0].pair is not None else None
            encoded, starts, shortened = tokenizer.encode([row.text for row in chunk], pairs, max_tokens, truncation)
            np.concatenate(encoded).astype(dtype).tofile(sink)
            lengths += [len(each) for each in encoded]
            begins += starts
            targets += [row.target for row in chunk]
            identities += [row.identity for row in chunk]
            cut += shortened
            bar.update(len(chunk))
    np.save(folder / "offsets.npy", np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))
    np.save(folder / "begins.npy", np.array(begins, dtype=np.int32))
    valued = any(isinstance(each, float) for each in targets)
    np.save(folder / "targets.npy", np.array(targets, dtype=np.float32 if valued else np.int64))
    np.save(folder / "identities.npy", np.array(identities, dtype=np.int64))
    (folder / "store.json").write_text(json.dumps({"dtype": np.dtype(dtype).name, "cut": cut}))


def _chunks(rows: Iterable[Row], size: int) -> Iterator[Sequence[Row]]:
    stream = iter(rows)
    while chunk := list(islice(stream, size)):
        yield chunk
