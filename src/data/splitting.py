"""Validation and test rows taken out of train, where the source has none of its own.

Which row goes where is a pure function of (seed, row number), by a hash instead of a generator: the same on every
machine, in every process and in every version of NumPy. The seed is not the run's, so that the yardstick never moves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.terms.bounds import Fraction, Whole, checked
from src.terms.fault import Fault

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "validation", "test")
_64_BITS = (1 << 64) - 1
_BLOCK = 1 << 16  # rows: what is held of them at once is no matter


@checked
@dataclass(frozen=True, kw_only=True)
class Split:
    """`validation` and `test` are shares of the source's train rows; 0 takes none.

    With `stratify` every class is divided by itself: its number of rows in validation and test is within one of its
    share, and a class of three or more rows (two where only one split is taken) is in all of them. A class too small
    for that stays in train as a whole.
    """

    validation: Fraction = 0.1
    test: Fraction = 0.0
    seed: Whole = 20240501
    stratify: bool = True

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise Fault(
                f"data.split.validation={self.validation} and data.split.test={self.test} leave nothing for train; "
                "together they must be below 1"
            )

    def divide(self, count: int, classes: "np.ndarray | None", *, validation: bool, test: bool) -> "np.ndarray":
        """The split of each row 0 to count - 1, as its place in `SPLITS` (uint8).

        `validation` and `test` say whether to take that split at all. `classes` [count] holds a class index per row;
        None, or `stratify: false`, divides all rows as one class. A split that would get no row is a `Fault`.

        Rows stand in the order of their hashes; of each class the first go to test, the next to validation.
        """
        import numpy as np

        shares = {"test": self.test * test, "validation": self.validation * validation}
        shares = {split: share for split, share in shares.items() if share > 0}
        places = np.zeros(count, dtype=np.uint8)
        groups: list[Any] = [slice(None)]
        if self.stratify and classes is not None:
            groups = [classes == each for each in np.unique(classes)]
        codes = np.array([*map(SPLITS.index, shares), 0], dtype=np.uint8)
        for group in groups if shares and count else []:
            size = count if isinstance(group, slice) else int(group.sum())
            # No two hashes are alike: the first k rows in their order are those below the hash of row k.
            limits = _ranked(self.seed, count, group, np.cumsum(list(_sizes(size, shares).values())))
            for rows, found in _hashes(self.seed, count, group):
                places[rows] = codes[(found[:, None] >= limits).sum(axis=1, dtype=np.uint8)]
        for split in ("train", *shares):
            if not (places == SPLITS.index(split)).any():
                raise Fault(
                    f"{count} rows cannot be divided: none is left for {split} "
                    f"(data.split.validation={self.validation}, data.split.test={self.test})"
                )
        return places

    def belongs(self, index: int) -> str:
        """The split of one row, known without the others, so that a stream can be divided; shares hold on average."""
        point = _hash(self.seed, index) / 2**64
        if point < self.test:
            return "test"
        return "validation" if point < self.test + self.validation else "train"


def _hashes(seed: int, count: int, group: Any) -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    """The rows below `count` that belong to a group (a mask, or all), and their hashes, a block at a time: no array of
    hashes is ever held for all of them."""
    import numpy as np

    for begin in range(0, count, _BLOCK):
        rows = np.arange(begin, min(begin + _BLOCK, count), dtype=np.uint64)
        if not isinstance(group, slice):
            rows = rows[group[begin : begin + _BLOCK]]
        yield rows.astype(np.int64), _hash(seed, rows)


def _ranked(seed: int, count: int, group: Any, ranks: "np.ndarray") -> "np.ndarray":
    """The hashes at these places in the order of all of the group: sought first by their 16 highest bits."""
    import numpy as np

    if count <= _BLOCK:
        [(_, found)] = _hashes(seed, count, group)
        return np.partition(found, ranks)[ranks]
    counts = np.zeros(1 << 16, dtype=np.int64)
    for _, found in _hashes(seed, count, group):
        counts += np.bincount((found >> 48).astype(np.int64), minlength=len(counts))
    ends = np.cumsum(counts)
    bins = np.searchsorted(ends, ranks, side="right")
    near = np.concatenate([found[np.isin(found >> 48, bins)] for _, found in _hashes(seed, count, group)])
    wanted = np.unique(bins)
    before = np.cumsum(counts[wanted]) - counts[wanted]  # of each wanted bin, in `near`
    return np.sort(near)[before[np.searchsorted(wanted, bins)] + ranks - (ends - counts)[bins]]


def _sizes(count: int, shares: dict[str, float]) -> dict[str, int]:
    """Rows of one class for each split: its share, rounded, at least one; none where train would then go without."""
    if count <= len(shares):
        return dict.fromkeys(shares, 0)
    sizes = {split: max(1, round(count * share)) for split, share in shares.items()}
    while sum(sizes.values()) >= count:
        sizes[max(sizes, key=lambda split: sizes[split])] -= 1
    return sizes


def _hash(seed: int, index: Any) -> Any:
    """SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) of a row number or an array of them: 64 bits, no two alike."""
    return _mix(_mix(seed & _64_BITS) ^ index)


def _mix(x: Any) -> Any:
    x = (x + 0x9E3779B97F4A7C15) & _64_BITS
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _64_BITS
    return x ^ (x >> 31)
