"""Fewer training rows than there are: a number of them, or a share.

Rows are taken in an order of their own that depends on the seed of the split alone, so a smaller
subset is always a part of a larger one.

Shape legend: R training rows.
"""

import numpy as np

from src.data.splitmix import permute_rows


def choose_rows_evenly(
    targets: np.ndarray | None, count: int, *, size: int, seed: int
) -> np.ndarray:
    """Choose `count` rows, as evenly from all classes as possible.

    Args:
        targets: the class of each row, [R]; None if rows have no classes.
        size: R.

    Returns:
        Numbers of rows from 0 to R - 1; all of them if there are not so many.
    """
    drawn, turns, _ = _draw_rows(targets, size, seed)
    return drawn[np.argsort(turns, kind="stable")][:count]


def choose_share(targets: np.ndarray | None, share: float, *, size: int, seed: int) -> np.ndarray:
    """Choose the same share of every class, rounded, and at least one row of each.

    The arguments and what is returned are those of `choose_rows_evenly`, but for `share`, a
    fraction of R.
    """
    one_class = np.zeros(size, dtype=np.int64)
    drawn, turns, sizes = _draw_rows(one_class if targets is None else targets, size, seed)
    return drawn[turns < np.maximum(1, np.rint(share * sizes))]


def _draw_rows(
    targets: np.ndarray | None, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All rows in the order in which they are taken, how many of the same class come before each
    of them, and the number of rows of its class; without classes none comes before.
    """
    drawn = permute_rows(seed, 0, size)
    if targets is None:
        return drawn, np.zeros(size, dtype=np.int64), np.full(size, size)
    turns = np.zeros(size, dtype=np.int64)
    sizes = np.zeros(size, dtype=np.int64)
    for class_index in np.unique(targets):
        mine = targets[drawn] == class_index
        turns[mine] = np.arange(mine.sum())
        sizes[mine] = mine.sum()
    return drawn, turns, sizes
