"""The rows of the test as people read them in tables of a report."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from src.core.printing import print_line
from src.core.retry import describe_error
from src.pipeline.run_parts import RunParts

if TYPE_CHECKING:
    from src.data.split_rows import SplitRows

# of the rows of a table of predictions
_MAX_TEXT_ROWS, _MAX_TEXT_CHARACTERS = 10_000, 500


def read_test_rows(parts: RunParts, further: Collection[int] = ()) -> "SplitRows | None":
    """The texts of the first rows of the test and of further ones, by their numbers, and the
    columns by which the report slices; None, and a line that says why, if they cannot be read.
    """
    from src.data.split_rows import read_rows

    datamodule = parts.datamodule
    identities = datamodule.token_stores["test"].identities
    numbers = {*sorted(identities.tolist())[:_MAX_TEXT_ROWS], *further}
    try:
        return read_rows(datamodule.config.source, "test", identities, numbers, parts.report.slices)
    except Exception as error:
        # the source may be gone by now, and the run is worth more than this column
        print_line(f"the table of predictions has no texts: {describe_error(error)}")
        return None


def shorten(text: str) -> str:
    """The beginning of a text, as it stands in tables."""
    return text if len(text) <= _MAX_TEXT_CHARACTERS else f"{text[: _MAX_TEXT_CHARACTERS - 1]}…"
