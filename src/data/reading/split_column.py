"""A column that says to which split each row belongs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from src.core.user_errors import UserError
from src.data.reading.file_names import (
    SPLIT_ALIASES,
    abbreviate_names,
    add_other_names,
    describe_other_name,
)
from src.data.rows.records import RawRecord

KEY = "data.source.split_column"
# What such a column is often called.
_USUAL_NAMES = ("split", "fold", "partition", "subset", "set", "data_split", "dataset_split")


class SplitValues:
    """What stands in the column, with the number of rows; the values of our splits by their names.

    Values are compared without capitals and outer blanks.

    Args:
        names: the source's name of each split, by ours.
    """

    def __init__(
        self, column: str | int, records: Iterable[RawRecord], names: Mapping[str, str]
    ) -> None:
        self.column = column
        self.counts = Counter(self._find_value(record) for record in records)
        typed = {split: name.strip().casefold() for split, name in names.items()}
        self.names = add_other_names(typed, self.counts)
        self.other_names = {
            split: name for split, name in self.names.items() if name != typed[split]
        }
        self.available = tuple(split for split, name in self.names.items() if name in self.counts)

    def select_rows(self, records: Iterable[RawRecord], split: str) -> Iterator[RawRecord]:
        """The rows of a split."""
        return (record for record in records if self._find_value(record) == self.names[split])

    def _find_value(self, record: RawRecord) -> str:
        value = (record.other or {}).get(str(self.column))
        return "" if value is None else str(value).strip().casefold()

    def find_errors(self) -> Iterator[UserError]:
        """The errors of splits whose names no row has."""
        there = abbreviate_names([value for value in self.counts if value])
        if not self.available:
            # as a text, which a number is not on a command line
            name = "NAME"
            if any(value.isdecimal() for value in self.counts):
                name = '"NUMBER"'
            yield UserError(
                f"holds {there or 'nothing'}",
                key=KEY,
                value=self.column,
                hint=f"say which is which: {_quote_option('train', name)}, "
                f"{_quote_option('validation', name)}, {_quote_option('test', name)}",
            )
            return
        for split, name in self.names.items():
            if name in self.counts:
                continue
            if name != split:
                yield UserError(
                    f"no row has it; {KEY}={self.column} holds {there}",
                    key=f"data.source.{split}",
                    value=name,
                )
            for alias in SPLIT_ALIASES[split]:
                if name == split and alias in self.counts:
                    yield UserError(
                        f"the column '{self.column}' has none, but {alias}",
                        key=f"data.source.{split}",
                        value=name,
                        hint=f"{{key}}={alias} takes it, {{key}}=null leaves it",
                    )

    def describe_others(self) -> Iterator[str]:
        """The rows of a split that has another name, and those of no split, in sentences."""
        for split, name in self.other_names.items():
            yield describe_other_name(split, name, f"{name} in '{self.column}'")
        others = {
            value: count for value, count in self.counts.items() if value not in self.names.values()
        }
        if others:
            shown = [f"{value or 'nothing'} {count:,}" for value, count in others.items()]
            yield f"not read: rows of other splits by '{self.column}': {abbreviate_names(shown)}"


def _quote_option(split: str, name: str) -> str:
    """A split's option, in quotes for the shell where its value has some."""
    option = f"data.source.{split}={name}"
    return f"'{option}'" if '"' in name else option


def is_split_name(name: object) -> bool:
    """Whether a column is called as one is that divides the rows."""
    return str(name).strip().casefold() in _USUAL_NAMES


def describe_unused_column(names: Iterable[str]) -> Iterator[str]:
    """That there is a column which seems to divide the rows, in a sentence."""
    for name in names:
        if is_split_name(name):
            yield f"note: the column '{name}' divides nothing; {KEY}={name} divides the rows by it"
