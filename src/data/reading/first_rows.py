"""What the first rows of every split show to be wrong, before a run is opened."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice

from src.core.user_errors import UserError, split_errors
from src.data.reading.decoding import InputFile
from src.data.reading.file_formats import ReadingOptions, read_file
from src.data.rows.records import RawRecord

_ROWS = 1000
# A file of plain text that is one document is read as a whole.
_MOST_BYTES = 1 << 26


def find_first_row_errors(
    files: Mapping[str, Sequence[InputFile]], options: ReadingOptions
) -> Iterator[UserError]:
    """Faults of encoding, quoting and labels in the first rows of every split."""
    for of_split in files.values():
        small = (file for file in of_split if not _is_one_large_text(file, options))
        try:
            rows = chain.from_iterable(read_file(file, options) for file in small)
            for _ in islice(rows, _ROWS):
                pass
        except UserError as error:
            yield from split_errors(error)


def _is_one_large_text(file: InputFile, options: ReadingOptions) -> bool:
    lines = options.format == "text" and options.document == "line" and options.heading is None
    return options.format in ("text", "folders") and not lines and _size(file) > _MOST_BYTES


def _size(file: InputFile) -> int:
    return file.path.stat().st_size


def find_unlabelled_split(split: str, records: Iterator[RawRecord]) -> UserError | None:
    """The error of a held-out split that has rows, but no label in any of them."""
    first = next(records, None)
    if first is None or first.label is not None:
        return None
    if any(record.label is not None for record in records):
        return None
    return UserError(
        f"no row of {split} has a label",
        where=first.where,
        key="data.source.label",
        hint=f"data.source.{split}=null leaves {split} out",
    )


def say_how_to_leave(split: str, error: UserError) -> UserError:
    """An error of a split other than train, which may have no labels, with the way to go on."""
    if error.key == "data.source.label":
        error.hint = f"{error.hint}; data.source.{split}=null leaves {split} out"
        error.alternative = None
    return error
