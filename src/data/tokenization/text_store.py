"""Texts on disk by the numbers of their rows: a memory map of UTF-8, and where each begins."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class TextStore:
    """The texts of a split, opened for reading; only what is read takes memory."""

    content: np.ndarray  # [bytes] uint8
    offsets: np.ndarray  # [2 N + 1] int64, where each text and each second text begins

    def read_row(self, row: int) -> tuple[str, str]:
        """The text of a row and its second one, which is empty where there is none."""
        begin, middle, end = self.offsets[2 * row : 2 * row + 3].tolist()
        text, pair = self.content[begin:middle], self.content[middle:end]
        return text.tobytes().decode(), pair.tobytes().decode()

    @classmethod
    def open(cls, folder: Path) -> "TextStore":
        file = folder / "texts.bin"
        content = np.zeros(0, np.uint8)
        if file.stat().st_size:
            content = np.memmap(file, dtype=np.uint8, mode="r").view(np.ndarray)
        return cls(content, np.load(folder / "offsets.npy", mmap_mode="r"))


def write_texts(folder: Path, rows: Iterable[tuple[str, str | None]]) -> None:
    """Write texts, and their second ones where there are some."""
    offsets = array("q", [0])
    with (folder / "texts.bin").open("wb") as file:
        for texts in rows:
            for text in texts:
                offsets.append(offsets[-1] + file.write((text or "").encode()))
    np.save(folder / "offsets.npy", np.frombuffer(offsets, dtype=np.int64))
