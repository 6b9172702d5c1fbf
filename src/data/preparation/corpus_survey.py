"""What became of every row of a source, as it is kept in the cache."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from src.data.preparation.splitting import SPLITS
from src.data.rows.labels import LabelSpace

# In `CorpusSurvey.places`; a row that is used has 1 + the index of its split in SPLITS.
UNUSED_ROW = 0
TRAIN_CODE = 1 + SPLITS.index("train")


@dataclass(frozen=True)
class CorpusSurvey:
    """What becomes of every row of the source.

    Args:
        data_summary: plain values: `label_names`, `counts` of rows read, kept and dropped, by split
            `rows` and `labels`, `remarks` on labels, and the number of all `letters`.
        places: by split of the source, for each of its rows: `UNUSED_ROW`, or 1 + the index in
            SPLITS of our split that has the row (uint8).
        targets: by split of the source, for each of its rows: a class index (int64) or a value
            (float64), or 0 and 1 for each class, [rows, classes] (uint8), where a row has several
            labels; empty without labels.
    """

    data_summary: dict[str, Any]
    places: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]

    def save(self, folder: Path) -> None:
        for kind in ("places", "targets"):
            for split, values in getattr(self, kind).items():
                np.save(folder / f"{split}_{kind}.npy", values)
        (folder / "about.json").write_text(
            json.dumps(self.data_summary, ensure_ascii=False), encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        summary = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        arrays = {
            kind: {
                split: np.load(file, mmap_mode="r")
                for split in SPLITS
                if (file := folder / f"{split}_{kind}.npy").is_file()
            }
            for kind in ("places", "targets")
        }
        return cls(summary, arrays["places"], arrays["targets"])


def count_labels(
    places: dict[str, np.ndarray],
    targets: dict[str, np.ndarray],
    space: LabelSpace,
    splits: Iterable[str],
) -> dict[str, dict[str, int]]:
    """The rows of each label, by split; arguments as in `CorpusSurvey`."""
    counts = {}
    for split in splits:
        code = 1 + SPLITS.index(split)
        class_counts = sum(
            _count_classes(targets[source_split][places[source_split] == code], len(space.names))
            for source_split in places
        )
        counts[split] = dict(zip(space.names, np.asarray(class_counts).tolist(), strict=True))
    return counts


def _count_classes(targets: np.ndarray, count: int) -> np.ndarray:
    """The rows of each class [count], from class indices [rows] or from zeros and ones
    [rows, count].
    """
    if targets.ndim == 2:
        return targets.sum(0, dtype=np.int64)
    return np.bincount(targets, minlength=count)
