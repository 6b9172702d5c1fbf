"""Validation and test rows taken out of train, if the source has none of its own.

The split of a row is a pure function of (seed, row number): a hash, not a random generator, so it
is the same on every machine, in every process and in every version of NumPy. The seed is not the
run's, so that all runs are measured by the same rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.core.user_errors import UserError
from src.core.validation import Fraction, NonNegativeInt, validate_init

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "validation", "test")
# Rows that are hashed at a time; their memory does not matter.
_BLOCK_ROWS = 1 << 16


@validate_init
@dataclass(frozen=True, kw_only=True)
class Split:
    """How rows are taken from the source's train split for splits that the source does not have.

    Args:
        validation: share of the train rows; 0 takes none.
        test: share of the train rows; 0 takes none.
        seed: of the choice; not the run's, so that runs are compared on the same rows.
        stratify: divide every class by itself: its number of rows in validation and test is within
            one of its share, and a class of three or more rows (two where only one split is taken)
            is in all of them. A class too small for that stays in train as a whole.
    """

    validation: Fraction = 0.1
    test: Fraction = 0.0
    seed: NonNegativeInt = 20240501
    stratify: bool = True

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise UserError(
                f"data.split.validation={self.validation} and data.split.test={self.test} leave "
                "nothing for train",
                hint="together they must be below 1",
                about=("data.split.validation", "data.split.test"),
            )

    def assign_splits(
        self, count: int, classes: "np.ndarray | None", *, validation: bool, test: bool
    ) -> "np.ndarray":
        """The split of each row 0 to count - 1, as its index in `SPLITS`, [count] uint8.

        In the order of their hashes, the first rows of each class go to test and the next to
        validation.

        Args:
            classes: the class index of each row, [count]; None divides all rows as one class, as
                `stratify=False` does.
            validation, test: whether to take that split at all.

        Raises:
            UserError: a split would get no row.
        """
        import numpy as np

        shares = {"test": self.test * test, "validation": self.validation * validation}
        shares = {split: share for split, share in shares.items() if share > 0}
        places = np.zeros(count, dtype=np.uint8)
        groups: list[Any] = [slice(None)]
        if self.stratify and classes is not None:
            groups = [classes == class_index for class_index in np.unique(classes)]
        codes = np.array([*map(SPLITS.index, shares), 0], dtype=np.uint8)
        for group in groups if shares and count else []:
            size = count if isinstance(group, slice) else int(group.sum())
            # All hashes differ, so the first k rows are those below the hash at place k.
            limits = _select_hashes(
                self.seed,
                count,
                group,
                np.cumsum(list(_compute_split_sizes(size, shares).values())),
            )
            for rows, hashes in _iter_row_hashes(self.seed, count, group):
                places[rows] = codes[(hashes[:, None] >= limits).sum(axis=1, dtype=np.uint8)]
        for split in ("train", *shares):
            if not (places == SPLITS.index(split)).any():
                raise UserError(
                    f"{count} rows cannot be divided: none is left for {split} "
                    f"(data.split.validation={self.validation}, data.split.test={self.test})"
                )
        return places


def _iter_row_hashes(
    seed: int, count: int, group: Any
) -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    """Iterate over the rows of a group and their hashes, block by block.

    Args:
        count: of all rows.
        group: a mask [count], or a slice for all rows.
    """
    import numpy as np

    for begin in range(0, count, _BLOCK_ROWS):
        rows = np.arange(begin, min(begin + _BLOCK_ROWS, count), dtype=np.uint64)
        if not isinstance(group, slice):
            rows = rows[group[begin : begin + _BLOCK_ROWS]]
        yield rows.astype(np.int64), _hash_rows(seed, rows)


def _select_hashes(seed: int, count: int, group: Any, ranks: "np.ndarray") -> "np.ndarray":
    """The hashes at the given places (`ranks`) in the sorted order of a group's hashes.

    Many hashes are not held at once: their highest 16 bits are counted first, and only the bins in
    which the places lie are sorted.
    """
    import numpy as np

    if count <= _BLOCK_ROWS:
        [(_, hashes)] = _iter_row_hashes(seed, count, group)
        return np.partition(hashes, ranks)[ranks]
    counts = np.zeros(1 << 16, dtype=np.int64)
    for _, hashes in _iter_row_hashes(seed, count, group):
        counts += np.bincount((hashes >> 48).astype(np.int64), minlength=len(counts))
    ends = np.cumsum(counts)
    bins = np.searchsorted(ends, ranks, side="right")
    near = np.concatenate(
        [hashes[np.isin(hashes >> 48, bins)] for _, hashes in _iter_row_hashes(seed, count, group)]
    )
    wanted_bins = np.unique(bins)
    # of each wanted bin, in `near`
    before = np.cumsum(counts[wanted_bins]) - counts[wanted_bins]
    return np.sort(near)[before[np.searchsorted(wanted_bins, bins)] + ranks - (ends - counts)[bins]]


def _compute_split_sizes(count: int, shares: dict[str, float]) -> dict[str, int]:
    """The rows of one class for each split: its rounded share, at least one.

    A class with too few rows to leave any for train gives none.
    """
    if count <= len(shares):
        return dict.fromkeys(shares, 0)
    sizes = {split: max(1, round(count * share)) for split, share in shares.items()}
    while sum(sizes.values()) >= count:
        sizes[max(sizes, key=lambda split: sizes[split])] -= 1
    return sizes


def _hash_rows(seed: int, rows: "np.ndarray") -> "np.ndarray":
    """A hash of 64 bits for each row number (uint64); no two are equal."""
    from src.data.splitmix import GOLDEN_GAMMA, derive_key, finalize_splitmix64

    return finalize_splitmix64((derive_key(seed) ^ rows) + GOLDEN_GAMMA)
