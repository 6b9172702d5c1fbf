"""Rows as a source of data gives them, and what every source can do."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from src.data.rows.token_labels import TokenLabels, WordSpan


class RawRecord(NamedTuple):
    """One row of a file as it is there; `where` names file and line for messages.

    `label` is a tuple where the row may have several labels, and `TokenLabels` where its words have
    some; `words` says where these stand in the text, if the file gives words. `other` holds all
    columns of the row where they were asked for; None otherwise. `remark` says what should be known
    of how the row was read, in words that follow "3 rows". `unreadable` is the error of a row that
    could not be read, where such rows are kept; it then has no text.
    """

    text: str
    pair: str | None
    label: str | int | float | tuple[str | int | float, ...] | TokenLabels | None
    where: str
    other: Mapping[str, Any] | None = None
    remark: str | None = None
    words: tuple[WordSpan, ...] | None = None
    unreadable: str | None = None


@runtime_checkable
class DataSource(Protocol):
    """A source of data: rows of text by split. `src.data.reading.sources.Source` reads files and
    the hub, `src.data.synthetic.reviews.Generated` writes reviews; docs/own-code.md shows one of
    one's own.
    """

    @property
    def name(self) -> str:
        """What the data set is called in MLflow."""

    def check(self) -> None:
        """Raise UserError if something that it refers to is not there. Called before the run."""

    def available_splits(self) -> tuple[str, ...]:
        """Those of `train`, `validation` and `test` that there are."""

    def read_records(self, split: str) -> Iterator[RawRecord]:
        """The rows of a split, the same ones in the same order each time."""

    def fingerprint_split(self, split: str) -> str:
        """A text that changes when the rows of a split do; the key of what is cached of them."""
