"""Smaller training sets: even or in proportion, and each a part of the larger ones."""

from itertools import pairwise

import numpy as np
import pytest

from src.data.preparation.train_subset import choose_rows_evenly, choose_share

# 60 rows of class 0, 30 of class 1 and 2 of class 2, mixed
TARGETS = np.random.default_rng(5).permutation(np.repeat([0, 1, 2], [60, 30, 2]))


def count_classes(rows: np.ndarray) -> list[int]:
    return np.bincount(TARGETS[rows], minlength=3).tolist()


def test_a_number_of_rows_is_even() -> None:
    assert count_classes(choose_rows_evenly(TARGETS, 6, size=92, seed=1)) == [2, 2, 2]
    # the smallest class is used up, and the others share the rest
    assert count_classes(choose_rows_evenly(TARGETS, 22, size=92, seed=1)) == [10, 10, 2]
    assert len(choose_rows_evenly(TARGETS, 500, size=92, seed=1)) == 92


def test_a_share_is_the_same_of_every_class() -> None:
    assert count_classes(choose_share(TARGETS, 0.1, size=92, seed=1)) == [6, 3, 1]
    assert count_classes(choose_share(TARGETS, 0.5, size=92, seed=1)) == [30, 15, 1]
    assert sorted(choose_share(TARGETS, 1.0, size=92, seed=1)) == list(range(92))


def test_without_classes() -> None:
    assert len(choose_share(None, 0.25, size=92, seed=1)) == 23
    assert len(choose_rows_evenly(None, 23, size=92, seed=1)) == 23


@pytest.mark.parametrize("targets", [TARGETS, None])
def test_a_smaller_subset_is_a_part_of_a_larger_one(targets: np.ndarray | None) -> None:
    subsets = [
        set(choose_share(targets, share, size=92, seed=1).tolist()) for share in (0.1, 0.2, 0.5, 1)
    ]
    assert all(small < large for small, large in pairwise(subsets))
    assert subsets[1] != set(choose_share(targets, 0.2, size=92, seed=2).tolist())
