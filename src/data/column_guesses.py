"""What the columns of a file seem to be: text, second text, label. Told from a few rows."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from src.core.dataset_info import Task
from src.data import readers
from src.data.columns import ColumnSelection
from src.data.decoding import InputFile
from src.data.json_rows import iter_json_objects
from src.data.sources import Source
from src.data.spreadsheets import iter_sheet_values
from src.data.tables import read_first_row, read_table

SAMPLE_ROWS = 1000
_LABEL_NAMES = re.compile(
    r"label|class|target|stars?|rating|category|sentiment|score|gold|polarity|topic|intent",
    re.IGNORECASE,
)
_SECOND_TEXTS = {
    "sentence1": "sentence2",
    "text1": "text2",
    "text_a": "text_b",
    "premise": "hypothesis",
    "question1": "question2",
    "question": "sentence",
}


class ColumnProfile(NamedTuple):
    """One column in a sample of rows.

    Args:
        name: its name, or its position where the table has no header.
        examples: up to three different values.
        distinct: the number of different values.
        is_numeric: whether all values are numbers, is_whole: whether these are whole.
        mean_characters: of the values as text.
    """

    name: str | int
    examples: tuple[str, ...]
    distinct: int
    filled: int
    is_numeric: bool
    is_whole: bool
    mean_characters: float


def sample_columns(source: Source, file: InputFile, format: str) -> list[ColumnProfile]:
    """The columns of the first rows of a file; none for formats that have no columns."""
    rows = list(itertools.islice(_iter_rows(source, file, format), SAMPLE_ROWS))
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [_profile_column(name, [row.get(name) for row in rows]) for name in names]


def _iter_rows(source: Source, file: InputFile, format: str) -> Iterator[dict[Any, Any]]:
    options, _ = source.reading_options(format).choose_encoding(file)
    match format:
        case "csv" | "tsv":
            style = options.style
            assert style is not None
            first = read_first_row(file, style)
            names: list[Any] = list(style.names or range(len(first)))
            names = first if style.header else names
            columns = [read_table(file, ColumnSelection(name, None, None), style) for name in names]
            for records in zip(*columns, strict=True):
                yield dict(zip(names, [record.text for record in records], strict=True))
        case "jsonl":
            texts = [str(column) for column in source.select_columns().text_columns]
            for _, row in iter_json_objects(file, options.json_style, texts):
                yield row
        case "xlsx":
            named = source.header or source.columns is not None
            for _, values in iter_sheet_values(
                file, sheet=source.sheet, header=source.header, names=source.columns
            ):
                yield values if named else {int(name): cell for name, cell in values.items()}
        case "parquet":
            from pyarrow.parquet import ParquetFile

            readers.read_parquet_columns(file)
            with ParquetFile(file.path) as table:
                for batch in table.iter_batches(batch_size=SAMPLE_ROWS):
                    yield from batch.to_pylist()


def _profile_column(name: str | int, values: Sequence[Any]) -> ColumnProfile:
    texts = [str(value) for value in values if value is not None and str(value).strip()]
    distinct = dict.fromkeys(texts)
    numbers = [_parse_number(text) for text in distinct]
    known = [number for number in numbers if number is not None]
    is_numeric = bool(known) and len(known) == len(numbers)
    return ColumnProfile(
        name,
        tuple(itertools.islice(distinct, 3)),
        len(distinct),
        len(texts),
        is_numeric,
        is_numeric and all(number.is_integer() for number in known),
        sum(map(len, texts)) / max(1, len(texts)),
    )


def _parse_number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*-?\d+(\.\d+)?(e-?\d+)?\s*", text) else None


def guess_columns(
    profiles: Sequence[ColumnProfile], typed: Mapping[str, Any]
) -> ColumnSelection | None:
    """The columns of text, second text and label; None if no column looks like a text.

    Args:
        typed: what the user named, by `text`, `pair` and `label`; kept where such columns exist.
    """
    names = [profile.name for profile in profiles]
    chosen = {key: value for key, value in typed.items() if set(list_columns(value)) <= {*names}}

    def find_free() -> list[ColumnProfile]:
        taken = {column for value in chosen.values() for column in list_columns(value)}
        return [profile for profile in profiles if profile.name not in taken]

    free = find_free()
    if "text" not in chosen:
        texts = [profile for profile in free if profile.filled and not profile.is_numeric]
        first = [profile for profile in texts if _find_second(profile.name, names) is not None]
        if not texts:
            return None
        chosen["text"] = max(first or texts, key=lambda profile: profile.mean_characters).name
    second = _find_second(chosen["text"], names)
    if "pair" not in chosen and second is not None and second not in chosen.values():
        chosen["pair"] = second
    if "label" not in chosen:
        labels = [profile for profile in find_free() if _may_be_label(profile)]
        if labels:
            chosen["label"] = min(
                labels,
                key=lambda profile: (
                    _LABEL_NAMES.search(str(profile.name)) is None,
                    profile.distinct,
                ),
            ).name
    return ColumnSelection(chosen["text"], chosen.get("pair"), chosen.get("label"))


def list_columns(value: Any) -> list[Any]:
    """The columns that the value of an option names: one, or a list of them."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _find_second(name: Any, names: Sequence[str | int]) -> str | int | None:
    second = _SECOND_TEXTS.get(str(name).lower())
    return next((other for other in names if str(other).lower() == second), None)


def _may_be_label(profile: ColumnProfile) -> bool:
    """A column of a few values that come again, or of numbers that are called a label."""
    if profile.distinct < 2:
        return False
    if profile.is_numeric and _LABEL_NAMES.search(str(profile.name)):
        return True
    return profile.distinct <= 2 or profile.distinct <= profile.filled / 2


def guess_task(profile: ColumnProfile | None) -> Task:
    """The task that fits a column of labels: numbers are a regression unless they are few and
    whole.
    """
    if profile is None:
        return "masked_lm"
    if profile.is_numeric and profile.distinct > (20 if profile.is_whole else 2):
        return "regression"
    return "classification"
