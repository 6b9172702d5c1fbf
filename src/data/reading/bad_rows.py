"""Rows that cannot be read: they end the reading, or go on as records that say what is wrong."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from src.core.user_errors import UserError
from src.data.rows.records import RawRecord


class RowErrors:
    """What a reader does with rows that it cannot read.

    Args:
        keep: a record takes the place of such a row, so that the others keep their numbers; else
            the error is raised.
    """

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self._waiting: list[UserError] = []

    def add(self, error: UserError) -> None:
        """Take the error of a row. Raises it where such rows are not kept."""
        if not self.keep:
            raise error
        self._waiting.append(error)

    def take_records(self) -> Iterator[RawRecord]:
        """A record for each row whose error was added since the last call."""
        waiting, self._waiting = self._waiting, []
        for error in waiting:
            yield mark_unreadable(error)


def mark_unreadable(error: UserError) -> RawRecord:
    """The record of a row that cannot be read."""
    return RawRecord("", None, None, "", {}, unreadable=str(error))


@contextmanager
def close_files_of_errors() -> Iterator[None]:
    """Close the file in which readers found an error that leaves this block.

    The error holds the readers that it came through, and with them their open file, until it is
    itself collected.
    """
    try:
        yield
    except UserError as error:
        traceback.clear_frames(error.__traceback__)
        raise
