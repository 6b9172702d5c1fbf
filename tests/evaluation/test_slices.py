"""The result for parts of the rows, counted by hand."""

import numpy as np
import pytest

from src.evaluation.intervals import find_share_interval
from src.evaluation.slices import (
    cut_by_column,
    cut_by_length,
    describe_largest_gap,
    tabulate_slices,
)


def test_quarters_by_length_hold_every_row_once():
    lengths = np.array([5, 1, 9, 3, 7, 2, 8, 4])
    slices = cut_by_length(lengths)
    assert sum(part.rows.astype(int) for part in slices).tolist() == [1] * 8
    assert [part.value for part in slices] == [
        "1 to under 3",
        "3 to under 5",
        "5 to under 8",
        "8 to 9",
    ]
    assert cut_by_length(np.array([4, 4])) == []


def test_values_of_a_column_lists_and_none():
    slices = cut_by_column("group", ["a", None, ["a", "b"], "b", "a"])
    assert [(part.value, part.rows.sum()) for part in slices] == [("a", 3), ("b", 2), ("(none)", 1)]
    # few numbers are names, many are cut
    assert len(cut_by_column("stars", ["1", "2", "1"])) == 2
    assert len(cut_by_column("year", [str(year) for year in range(1900, 2000)])) == 4


def test_the_largest_gap_is_named_and_said_to_be_chance_where_it_may_be():
    right = np.array([True] * 90 + [False] * 10 + [True] * 5 + [False] * 25)
    groups = ["many"] * 100 + ["few"] * 30
    table = tabulate_slices(cut_by_column("group", groups), right)
    assert table["rows"] == [100, 30]
    assert table["accuracy"] == [0.9, pytest.approx(5 / 30)]
    assert (table["low"][1], table["high"][1]) == find_share_interval(5, 30)
    assert table["gap"][1] == pytest.approx(5 / 30 - 0.9)
    assert describe_largest_gap(table) == (
        "largest gap below the rest: accuracy 0.167 (0.0734 to 0.336) where group is few "
        "(30 rows), 0.9 elsewhere"
    )
    right = np.array([True] * 27 + [False] * 3 + [True] * 26 + [False] * 4)
    table = tabulate_slices(cut_by_column("group", ["a"] * 30 + ["b"] * 30), right)
    assert str(describe_largest_gap(table)).endswith("0.9 elsewhere, which may be chance")
    # too few rows to name
    table = tabulate_slices(cut_by_column("group", ["a"] * 59 + ["b"]), ~np.eye(60, dtype=bool)[59])
    assert describe_largest_gap(table) is None
