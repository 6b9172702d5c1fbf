"""How many rows of a split were read in a way that should be known, and where the first stands."""

from collections import Counter

from src.core.formatting import format_quantity
from src.data.rows.records import RawRecord


class RemarkCounts:
    """Counts the remarks of records, by split."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._first_places: dict[tuple[str, str], str] = {}

    def count(self, split: str, record: RawRecord) -> None:
        # a table writes so what a program rounded
        signed = "with the label -0, which is taken as 0" if record.label == "-0" else None
        for remark in filter(None, (record.remark, signed)):
            key = split, remark
            self._counts[key] += 1
            self._first_places.setdefault(key, record.where)

    def describe(self) -> list[str]:
        """A sentence for every remark of every split."""
        return [
            f"{split}: {format_quantity(count, 'row')} {remark} "
            f"(the first: {self._first_places[split, remark]})"
            for (split, remark), count in self._counts.items()
        ]
