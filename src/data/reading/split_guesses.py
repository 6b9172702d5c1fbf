"""Which rows are held out, told from a column that says so, and from splits without labels."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from src.core.formatting import format_quantity
from src.data.reading.column_profiles import ColumnProfile
from src.data.reading.decoding import InputFile
from src.data.reading.file_formats import read_header
from src.data.reading.file_names import SPLIT_ALIASES, SplitFiles
from src.data.reading.sources import Source
from src.data.reading.split_column import is_split_name
from src.data.reading.table_rows import read_first_rows
from src.data.rows.odd_labels import is_missing_number

_MOST_SPLITS = 10
# SemEval's; files that are called so may be parts of train
_TRIAL = "trial"
_SPLIT_VALUES = {*SPLIT_ALIASES, *chain(*SPLIT_ALIASES.values()), _TRIAL}
_SAMPLE_ROWS = 1000


def guess_split_column(source: Source, profiles: Sequence[ColumnProfile]) -> dict[str, Any]:
    """The options of a source by which a column divides its rows, if one seems to; else none."""
    if source.split_column is not None:
        return {}
    for profile in profiles:
        values = {value.strip().casefold() for value in profile.labels}
        # whatever the column is called
        are_splits = len(values) > 1 and values <= _SPLIT_VALUES
        if not are_splits and (not is_split_name(profile.name) or profile.distinct > _MOST_SPLITS):
            continue
        options: dict[str, Any] = {"split_column": profile.name}
        for split, aliases in SPLIT_ALIASES.items():
            others = (*aliases, _TRIAL) if split == "validation" else aliases
            found = [alias for alias in others if alias in values]
            if found and split not in values:
                options[split] = found[0]
        if values & {"train", *SPLIT_ALIASES["train"]}:
            return options
    return {}


def find_unlabelled_splits(source: Source, layout: SplitFiles) -> Iterator[tuple[str, str]]:
    """The held-out splits whose rows have texts and no labels, with why, in words."""
    columns = source.select_columns()
    labels = list(map(str, columns.label_columns))
    if source.split_column is not None or source.format == "class_files" or not labels:
        return
    options = source.reading_options(layout.format)
    for split, files in layout.files.items():
        if split == "train":
            continue
        names = [name.strip() for name in read_header(files[0], options)]
        if (width := _find_narrow_width(source, files[0], layout.format)) is not None:
            columns_there = format_quantity(width, "column")
            yield split, f"{files[0].name} has only {columns_there}, which seem to lack the label"
        elif {str(text) for text in columns.text_columns} <= {*names} and not {*labels} <= {*names}:
            lacking = [label for label in labels if label not in names]
            yield split, f"{files[0].name} has no {', '.join(lacking[:3])}"
        elif {*labels} <= {*names} and (mark := _find_lone_mark(source, split)) is not None:
            yield split, f"the label is {mark} in all rows of {files[0].name}"


def _find_narrow_width(source: Source, file: InputFile, format: str) -> int | None:
    """How many columns the first row of a table without names has, if these are fewer than are
    asked for.
    """
    options, _ = source.reading_options(format).choose_encoding(file)
    columns = [column for _, column in options.columns.requested_columns()]
    places = [column for column in columns if isinstance(column, int)]
    if options.style is None or options.style.header or len(places) < len(columns):
        return None
    rows = read_first_rows(file, options.style)[:1]
    width = len(rows[0][1]) if rows else 0
    return width if width <= max(places) else None


def _find_lone_mark(source: Source, split: str) -> str | None:
    """What stands in place of the label in the first rows of a split, if that is -1, a mark for a
    missing value or nothing in all of them.
    """
    rows = islice(source.read_records(split), _SAMPLE_ROWS)
    found = {record.label for record in rows}
    if len(found) != 1:
        return None
    (label,) = found
    if label is None:
        return "empty"
    return str(label) if str(label) == "-1" or is_missing_number(label) else None
