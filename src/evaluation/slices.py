"""The result for parts of the test rows: by length, and by the values of other columns.

Shape legend: N rows.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from src.evaluation.intervals import find_share_interval

MOST_VALUES = 20
NUM_BINS = 4
# of a slice that may be named as the one with the largest gap
LEAST_ROWS = 20
_MISSING = "(none)"


class Slice(NamedTuple):
    """Some rows: `column` has `value` in them; [N] whether each row is one of them."""

    column: str
    value: str
    rows: np.ndarray


def cut_by_length(lengths: np.ndarray) -> list[Slice]:
    """Quarters of the rows by their number of tokens [N]."""
    return _cut_numbers("tokens", lengths.astype(float))


def cut_by_column(column: str, values: Sequence[Any]) -> list[Slice]:
    """The rows of each value of a column, or quarters of them where it holds many numbers.

    Of other columns with many values the most frequent ones are taken. A row may have a list of
    values, and belongs to the slice of each.
    """
    if (numbers := _read_numbers(values)) is not None:
        return _cut_numbers(column, numbers)
    lists = [
        [str(entry) for entry in value] if isinstance(value, list | tuple | set) else [str(value)]
        for value in (_MISSING if value is None or value == "" else value for value in values)
    ]
    counts: dict[str, int] = {}
    for entries in lists:
        for entry in entries:
            counts[entry] = counts.get(entry, 0) + 1
    names = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_VALUES]
    return [Slice(column, name, np.array([name in entries for entries in lists])) for name in names]


def _read_numbers(values: Sequence[Any]) -> np.ndarray | None:
    """The values as numbers, NaN where there is none; None if they are no numbers, or few."""
    try:
        numbers = np.array(
            [np.nan if value is None or value == "" else float(value) for value in values]
        )
    except (TypeError, ValueError):
        return None
    known = numbers[np.isfinite(numbers)]
    return numbers if len(np.unique(known)) > MOST_VALUES else None


def _cut_numbers(column: str, numbers: np.ndarray) -> list[Slice]:
    known = numbers[np.isfinite(numbers)]
    if len(known) == 0:
        return []
    edges = np.quantile(known, np.linspace(0, 1, NUM_BINS + 1))
    # whole numbers are cut at whole numbers, which parts them alike
    edges = np.unique(np.ceil(edges) if (known == np.ceil(known)).all() else edges)
    if len(edges) == 1:
        return []
    slices = []
    for place, (low, high) in enumerate(pairwise(edges.tolist())):
        last = place == len(edges) - 2
        inside = (numbers >= low) & ((numbers <= high) if last else (numbers < high))
        word = "to" if last else "to under"
        slices.append(Slice(column, f"{low:.6g} {word} {high:.6g}", inside))
    if not np.isfinite(numbers).all():
        slices.append(Slice(column, _MISSING, ~np.isfinite(numbers)))
    return slices


def tabulate_slices(slices: Sequence[Slice], right: np.ndarray) -> dict[str, list]:
    """Rows and accuracy of each slice with its interval; the accuracy elsewhere, and the gap.

    Args:
        right: [N] whether the answer to each row is.
    """
    columns = ("column", "value", "rows", "accuracy", "low", "high", "elsewhere", "gap")
    table: dict[str, list] = {name: [] for name in columns}
    for part in slices:
        rows, hits = int(part.rows.sum()), int(right[part.rows].sum())
        if rows == 0:
            continue
        interval = find_share_interval(hits, rows)
        assert interval is not None
        others = len(right) - rows
        elsewhere = (int(right.sum()) - hits) / others if others else None
        gap = None if elsewhere is None else hits / rows - elsewhere
        values = (part.column, part.value, rows, hits / rows, *interval, elsewhere, gap)
        for name, value in zip(columns, values, strict=True):
            table[name].append(value)
    return table


def describe_largest_gap(table: Mapping[str, Sequence[Any]]) -> str | None:
    """The slice that is furthest below the other rows, in words; None where none is below them.

    It is the worst of many, so that some of its gap is chance: whether its interval holds the
    accuracy elsewhere is told.
    """
    candidates = [
        (gap, index)
        for index, (gap, rows) in enumerate(zip(table["gap"], table["rows"], strict=True))
        if gap is not None and gap < 0 and rows >= LEAST_ROWS
    ]
    if not candidates:
        return None
    _, index = min(candidates)
    row = {name: values[index] for name, values in table.items()}
    within = row["low"] <= row["elsewhere"] <= row["high"]
    ends = f"{row['low']:.3g} to {row['high']:.3g}"
    return (
        f"largest gap below the rest: accuracy {row['accuracy']:.3g} ({ends}) where "
        f"{row['column']} is {row['value']} ({row['rows']:,} rows), {row['elsewhere']:.3g} "
        "elsewhere" + (", which may be chance" if within else "")
    )
