"""The rows of a split as its source has them, read once more after training: texts for people, and
columns that training has no use for.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from src.core.user_errors import UserError, suggest
from src.data.reading.sources import Source
from src.data.rows.records import DataSource, RawRecord


class SplitRows(NamedTuple):
    """Text and second text, and the values of columns by their names, each by the number of the
    row in the source.
    """

    texts: dict[int, tuple[str, str | None]]
    columns: dict[str, dict[int, Any]]


def read_rows(
    source: DataSource,
    split: str,
    identities: np.ndarray,
    numbers: Collection[int],
    columns: Sequence[str] = (),
) -> SplitRows:
    """Read rows of a split again.

    Args:
        identities: the numbers of the rows of the split, under which predictions are filed.
        numbers: of the rows whose texts are wanted.
        columns: of which the values of all rows are wanted besides.
    """
    wanted = set(numbers)
    kept = set(identities.tolist()) if columns else wanted
    last = max(kept, default=-1)
    texts: dict[int, tuple[str, str | None]] = {}
    values: dict[str, dict[int, Any]] = {name: {} for name in columns}
    for number, record in enumerate(_read_split(source, split, keep_other=bool(columns))):
        if number > last:
            break
        if number in wanted:
            texts[number] = record.text, record.pair
        if number in kept and record.other is not None:
            for name, found in values.items():
                found[number] = record.other.get(name)
    return SplitRows(texts, values)


def check_columns(source: DataSource, split: str, columns: Sequence[str], *, key: str) -> None:
    """Raise UserError if the rows of a split lack one of these columns.

    Args:
        key: the one that names them.
    """
    if not columns:
        return
    first = next(iter(_read_split(source, split, keep_other=True)), None)
    there = () if first is None or first.other is None else tuple(map(str, first.other))
    for name in columns:
        if name in there:
            continue
        near = suggest(name, there)
        raise UserError(
            f"the rows have no column {name}",
            key=key,
            value=f"[{','.join(columns)}]",
            found=", ".join(there) or "no columns besides text and label",
            alternative=None if near is None else (key, f"[{near}]"),
        )


def _read_split(source: DataSource, split: str, *, keep_other: bool) -> Iterator[RawRecord]:
    # a split that the source lacks was taken out of its training rows
    split = split if split in source.available_splits() else "train"
    if keep_other and isinstance(source, Source):
        return source.read_records(split, keep_other=True)
    return source.read_records(split)
