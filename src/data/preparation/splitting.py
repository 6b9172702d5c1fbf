"""Validation and test rows taken out of train, if the source has none of its own.

The split of a row is a pure function of (seed, row number): a hash, not a random generator, so it
is the same on every machine, in every process and in every version of NumPy. The seed is not the
run's, so that all runs are measured by the same rows.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from src.core.formatting import format_quantity
from src.core.user_errors import UserError
from src.core.validation import Fraction, NonNegativeInt, validate_init

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "validation", "test")
# that nobody has asked for: of this class, and of conf/
_SHIPPED_SHARES = {"validation": (0.1,), "test": (0.1,)}
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
        fold: `2/5` for the second of five equal parts of the train rows, which is the validation in
            place of a share; the five parts have no row in common and all rows together.
            `search=k_fold` runs them all.
        group: column whose value names a group, such as a patient or an author: no group is in two
            splits. Whole groups are taken, so that shares are met about, and classes are not
            divided by themselves.
        time: column of a date (2024-12-31) or a number: the newest rows are test, the next
            validation. Rows of one time stay together.
        time_format: how dates are written there, in the codes of Python's strptime: `%d/%m/%Y` for
            31/12/2024; null: as 2024-12-31.
        stratify: divide every class by itself: its number of rows in validation and test is within
            one of its share, and a class of three or more rows (two where only one split is taken)
            is in all of them. A class too small for that stays in train as a whole.
    """

    validation: Fraction = 0.1
    test: Fraction = 0.0
    seed: NonNegativeInt = 20240501
    fold: str | None = None
    group: str | int | None = None
    time: str | int | None = None
    time_format: str | None = None
    stratify: bool = True

    def describe_unused(self, own_splits: Collection[str]) -> Iterator[str]:
        """The shares that were asked for and are not taken, since the source has these splits, in
        sentences.
        """
        for name, shipped in _SHIPPED_SHARES.items():
            share = getattr(self, name)
            is_asked = share > 0 and share not in shipped and self.fold is None
            if name in own_splits and is_asked:
                yield (
                    f"data.split.{name}={share:g} changes nothing: the data have a {name} split of "
                    "their own"
                )

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise UserError(
                f"data.split.validation={self.validation} and data.split.test={self.test} leave "
                "nothing for train",
                hint="together they must be below 1",
                about=("data.split.validation", "data.split.test"),
            )
        if self.group is not None and self.time is not None:
            raise UserError(
                "rows are divided by groups or by time, and not by both",
                key="data.split.group",
                value=self.group,
                found=f"data.split.time={self.time}",
                about=["data.split.time"],
            )
        if self.time_format is not None:
            self._check_time_format(self.time_format)
        if self.fold is not None:
            self._check_fold()

    def _check_time_format(self, format: str) -> None:
        key = "data.split.time_format"
        if self.time is None:
            raise UserError(
                "is about the dates of data.split.time, which names no column",
                key=key,
                value=format,
                about=["data.split.time"],
                colon=False,
            )
        moment = datetime(2024, 12, 31, tzinfo=UTC)
        try:
            understood = "%" in format and datetime.strptime(moment.strftime(format), format)
        except (ValueError, re.error):
            # the latter for a code that stands there twice
            understood = False
        if not understood:
            raise UserError(key=key, value=format, expected="codes such as %d/%m/%Y for 31/12/2024")

    def _check_fold(self) -> None:
        key = "data.split.fold"
        number, _, count = (self.fold or "").partition("/")
        digits = number.isdecimal() and count.isdecimal()
        if not digits or not 1 <= int(number) <= int(count) or int(count) < 2:
            raise UserError(
                key=key,
                value=self.fold,
                expected="1/5 to 5/5 for five parts, or of another number of them from 2 on",
            )
        if self.time is not None:
            raise UserError(
                "parts are drawn by chance, where time would divide the rows",
                key=key,
                value=self.fold,
                found=f"data.split.time={self.time}",
                about=["data.split.time"],
            )

    def find_column(self) -> tuple[Literal["group", "time"], str | int] | None:
        """The column that divides the rows and what stands there; None where none does."""
        if self.group is not None:
            return "group", self.group
        return None if self.time is None else ("time", self.time)

    def assign_splits(
        self,
        count: int,
        classes: "np.ndarray | None",
        *,
        validation: bool,
        test: bool,
        column_values: "np.ndarray | None" = None,
    ) -> "np.ndarray":
        """The split of each row 0 to count - 1, as its index in `SPLITS`, [count] uint8.

        In the order of their hashes, the first rows of each class go to test and the next to
        validation.

        Args:
            classes: the class index of each row, [count]; None divides all rows as one class, as
                `stratify=False` does.
            validation, test: whether to take that split at all.
            column_values: of each row, [count], where a column divides them: a hash of its group
                (uint64), or its time (float64).

        Raises:
            UserError: a split would get no row.
        """
        import numpy as np

        shares = {"test": self.test * test, "validation": self.validation * validation}
        if self.fold is not None:
            # of what the test leaves
            shares["validation"] = (1 - shares["test"]) / int(self.fold.partition("/")[2])
        shares = {split: share for split, share in shares.items() if share > 0}
        if column_values is not None and shares and count:
            return self._assign_whole_groups(column_values, shares)
        places = np.zeros(count, dtype=np.uint8)
        groups: list[Any] = [slice(None)]
        if self.stratify and classes is not None:
            groups = [classes == class_index for class_index in np.unique(classes)]
        for group in groups if shares and count else []:
            size = count if isinstance(group, slice) else int(group.sum())
            ends, codes = self._plan_ranges(size, shares)
            # All hashes differ, so the first k rows are those below the hash at place k.
            limits = _select_hashes(self.seed, count, group, ends)
            for rows, hashes in _iter_row_hashes(self.seed, count, group):
                places[rows] = codes[(hashes[:, None] >= limits).sum(axis=1, dtype=np.uint8)]
        for split in ("train", *shares):
            if not (places == SPLITS.index(split)).any():
                raise UserError(
                    f"{count} rows cannot be divided: none is left for {split} "
                    f"(data.split.validation={self.validation}, data.split.test={self.test})"
                )
        return places

    def _plan_ranges(self, size: int, shares: dict[str, float]) -> "tuple[np.ndarray, np.ndarray]":
        """How the rows of a class are divided in the order of their hashes: where each range but
        the last ends, and the index in `SPLITS` of every range.
        """
        import numpy as np

        if self.fold is None:
            ends = np.cumsum(list(_compute_split_sizes(size, shares).values()))
            return ends, np.array([*map(SPLITS.index, shares), 0], dtype=np.uint8)
        number, count = map(int, self.fold.split("/"))
        tests = {split: share for split, share in shares.items() if split == "test"}
        begin = sum(_compute_split_sizes(size, tests).values())
        edges = [begin + (size - begin) * part // count for part in (number - 1, number)]
        # the last part ends with the rows
        fold_ends = np.array([begin, *edges] if number < count else [begin, edges[0]])
        splits = ["test", "train", "validation", "train"][: len(fold_ends) + 1]
        return fold_ends, np.array([*map(SPLITS.index, splits)], dtype=np.uint8)

    def _assign_whole_groups(self, values: "np.ndarray", shares: dict[str, float]) -> "np.ndarray":
        """The split of each row, [rows] uint8, where rows of one value stay together."""
        import numpy as np

        found, group_of_row, sizes = np.unique(values, return_inverse=True, return_counts=True)
        by_time = self.time is not None
        if len(found) <= len(shares):
            raise UserError(
                f"has {format_quantity(len(found), 'value')} in {len(values):,} rows, and "
                f"{' and '.join(['train', *shares])} need one each",
                key="data.split.time" if by_time else "data.split.group",
                value=self.time if by_time else self.group,
            )
        order = np.argsort(-found if by_time else _hash_rows(self.seed, found), kind="stable")
        if self.fold is not None:
            return self._assign_fold_of_groups(order, sizes, shares)[group_of_row]
        take = _take_first_groups if by_time else _take_fitting_groups
        split_of_group = np.zeros(len(found), dtype=np.uint8)
        for place, (split, share) in enumerate(shares.items(), 1):
            # the splits to come, and train, need a group as well
            most = len(order) - (len(shares) - place) - 1
            is_taken = take(sizes[order], share * len(values), most)
            split_of_group[order[is_taken]] = SPLITS.index(split)
            order = order[~is_taken]
        places: np.ndarray = split_of_group[group_of_row]
        return places

    def _assign_fold_of_groups(
        self, order: "np.ndarray", sizes: "np.ndarray", shares: dict[str, float]
    ) -> "np.ndarray":
        """The split of each group, [groups] uint8: one part of the groups is the validation, and a
        group belongs to the part in which its middle row lies.

        Args:
            order: the groups in the order in which they are taken.
            sizes: rows of each group.
        """
        import numpy as np

        number, count = map(int, str(self.fold).split("/"))
        splits = np.zeros(len(sizes), dtype=np.uint8)
        if "test" in shares:
            taken = _take_fitting_groups(
                sizes[order], shares["test"] * sizes.sum(), len(order) - count
            )
            splits[order[taken]] = SPLITS.index("test")
            order = order[~taken]
        middles = sizes[order].cumsum() - sizes[order] / 2
        parts = (middles * count / sizes[order].sum()).astype(np.int64)
        splits[order[parts == number - 1]] = SPLITS.index("validation")
        if not (splits == SPLITS.index("validation")).any():
            raise UserError(
                f"no group of data.split.group={self.group} lies in this part",
                key="data.split.fold",
                value=self.fold,
                hint=f"fewer parts than {count} are larger",
            )
        return splits


def _take_first_groups(sizes: "np.ndarray", wanted: float, most: int) -> "np.ndarray":
    """Whether each group is taken [groups]: the first ones, whose rows come nearest to `wanted`."""
    import numpy as np

    count = 1 + int(np.argmin(np.abs(np.cumsum(sizes)[:most] - wanted)))
    taken: np.ndarray = np.arange(len(sizes)) < count
    return taken


def _take_fitting_groups(sizes: "np.ndarray", wanted: float, most: int) -> "np.ndarray":
    """Whether each group is taken [groups]: in their order those of which at least half still fits
    into `wanted` rows; if none does, the smallest.
    """
    import numpy as np

    taken, rows, count = np.zeros(len(sizes), dtype=bool), 0, 0
    for group, size in enumerate(sizes.tolist()):
        if rows + size / 2 <= wanted and count < most:
            taken[group] = True
            rows, count = rows + size, count + 1
        if rows >= wanted:
            break
    if not count:
        taken[np.argmin(sizes)] = True
    return taken


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
