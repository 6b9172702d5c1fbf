"""What the columns of a file seem to be: text, second text, label. Told from a few rows."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from src.core.dataset_info import Task
from src.data import readers
from src.data.columns import ColumnSelection
from src.data.decoding import InputFile, read_text_lines
from src.data.encodings import choose_encoding
from src.data.file_formats import read_header
from src.data.file_names import SPLIT_ALIASES, infer_format
from src.data.json_rows import flatten_row, iter_json_objects
from src.data.readers import FASTTEXT_MARK
from src.data.sources import Source
from src.data.split_column import is_split_name
from src.data.spreadsheets import iter_sheet_values
from src.data.tables import guess_delimiter, read_first_row, read_table
from src.data.token_labels import holds_entities, is_word_list, looks_like_tags

SAMPLE_ROWS = 1000
_LABEL_NAMES = re.compile(
    r"label|class|target|stars?|rating|category|sentiment|score|gold|polarity|topic|intent",
    re.IGNORECASE,
)
_TAG_NAMES = re.compile(r"tags?$|ner|labels?$", re.IGNORECASE)
_MOST_SPLITS = 10
_SPLIT_VALUES = {*SPLIT_ALIASES, *itertools.chain(*SPLIT_ALIASES.values())}
_YES_NO = {"0", "1", "0.0", "1.0", "true", "false"}
# So many columns of yes and no, or more, are labels of which a row may have several.
_LEAST_LABEL_COLUMNS = 3
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
        labels: the different values, if these are few enough to be labels; else empty.
        is_yes_no: whether all values are 0 and 1, or true and false; is_share: whether all are
            numbers from 0 to 1.
        is_nested: whether some value is a list; has_fields: whether some value has named parts.
        list_lengths: of the values, where all are lists; else empty.
        holds_words: whether all values are lists of texts; holds_spans: whether some value is a
            list of entities as spans.
    """

    name: str | int
    examples: tuple[str, ...]
    distinct: int
    filled: int
    is_numeric: bool
    is_whole: bool
    mean_characters: float
    labels: tuple[str, ...] = ()
    is_yes_no: bool = False
    is_share: bool = False
    is_nested: bool = False
    has_fields: bool = False
    list_lengths: tuple[int, ...] = ()
    holds_words: bool = False
    holds_spans: bool = False


def guess_text_format(path: Path, encodings: Sequence[str]) -> str | None:
    """The format of a file of lines whose name does not tell it: "conll" where they end on tags of
    words, "tsv" where all lines have equally many tabs, "label_first" where they begin with a few
    words that come again; None if neither.
    """
    if not path.is_file() or infer_format(path) not in (None, "text"):
        return None
    file = InputFile(path, path.name)
    lines = read_text_lines(file, choose_encoding(file, encodings).name)
    first_lines = list(itertools.islice(lines, SAMPLE_ROWS))
    if looks_like_tags(first_lines):
        return "conll"
    sample = [line.strip() for line in first_lines if line.strip()]
    tabs = {line.count("\t") for line in sample}
    if len(tabs) == 1 and tabs != {0}:
        return "tsv"
    if sample and all(line.startswith(FASTTEXT_MARK) for line in sample):
        return "label_first"
    words = [line.split(maxsplit=1) for line in sample]
    first = {word[0] for word in words}
    several = len(words) > 1 and all(len(word) > 1 for word in words)
    return "label_first" if several and 1 < len(first) <= len(words) / 5 else None


def guess_table_options(source: Source, file: InputFile, format: str) -> dict[str, Any]:
    """The options without which a table is not read as it is written: its delimiter, and
    `header` where the first line seems to be a row: it has numbers where all rows have some, or a
    label of these.
    """
    options, _ = source.reading_options(format).choose_encoding(file)
    if options.style is None:
        return {}
    found: dict[str, Any] = {}
    if (delimiter := guess_delimiter(file, options.style)) is not None:
        found["delimiter"] = delimiter
    if options.style.header:
        profiles = sample_columns(replace(source, **found), file, format)
        numbered = [profile.name for profile in profiles] == [*map(str, range(len(profiles)))]
        if not numbered and any(map(_holds_own_name, profiles)):
            found["header"] = False
    return found


def find_repeated_names(source: Source, file: InputFile, format: str) -> list[str]:
    """The names that several columns of a table have."""
    options, _ = source.reading_options(format).choose_encoding(file)
    names = read_header(file, options) if options.style is not None else []
    return [name for name in dict.fromkeys(names) if name.strip() and names.count(name) > 1]


def _holds_own_name(profile: ColumnProfile) -> bool:
    name = str(profile.name)
    is_number = profile.is_numeric and _parse_number(name) is not None
    return is_number or name in profile.labels


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
            names = list(first if style.header else names)
            names = [name for name in names if names.count(name) == 1]
            columns = [read_table(file, ColumnSelection(name, None, None), style) for name in names]
            for records in zip(*columns, strict=True):
                yield dict(zip(names, [record.text for record in records], strict=True))
        case "jsonl":
            texts = [str(column) for column in source.select_columns().text_columns]
            for _, row in iter_json_objects(file, options.json_style, texts):
                yield flatten_row(row)
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
        tuple(distinct) if len(distinct) <= len(texts) / 2 else (),
        bool(distinct) and {text.strip().lower() for text in distinct} <= _YES_NO,
        is_numeric and all(0 <= number <= 1 for number in known),
        any(isinstance(value, list) for value in values),
        any(isinstance(value, dict) for value in _list_items(values)),
        *_profile_lists(values),
    )


def _profile_lists(values: Sequence[Any]) -> tuple[tuple[int, ...], bool, bool]:
    """The last three parts of a profile."""
    lists = [value for value in values if isinstance(value, list)]
    lengths = tuple(map(len, lists)) if len(lists) == len(values) else ()
    return lengths, bool(lengths) and all(map(is_word_list, lists)), any(map(holds_entities, lists))


def _list_items(values: Sequence[Any]) -> Iterator[Any]:
    """Values, and what is in those that are lists."""
    for value in values:
        yield from value if isinstance(value, list) else (value,)


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
    chosen |= _find_token_columns(profiles, chosen)
    if "text" not in chosen:
        texts = [
            one
            for one in free
            if one.filled and not (one.is_numeric or one.is_nested or one.has_fields)
        ]
        first = [profile for profile in texts if _find_second(profile.name, names) is not None]
        if not texts:
            return None
        chosen["text"] = max(first or texts, key=lambda profile: profile.mean_characters).name
    second = _find_second(chosen["text"], names)
    if "pair" not in chosen and second is not None and second not in chosen.values():
        chosen["pair"] = second
    if "label" not in chosen and (several := _find_label_columns(find_free())):
        chosen["label"] = several
    elif "label" not in chosen:
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


def _find_token_columns(
    profiles: Sequence[ColumnProfile], chosen: Mapping[str, Any]
) -> dict[str, Any]:
    """The columns of words and of their tags, or that of spans; none of what is chosen."""
    if "label" in chosen:
        return {}
    spans = [profile.name for profile in profiles if profile.holds_spans]
    words = [
        (profile, other)
        for profile in profiles
        for other in profiles
        if profile.holds_words
        and other is not profile
        and sum(profile.list_lengths) > len(profile.list_lengths)
        and other.list_lengths == profile.list_lengths
        and chosen.get("text", profile.name) == profile.name
    ]
    # of two lists of texts the tags are called so, of several tags those of entities are taken
    words.sort(
        key=lambda pair: (
            _TAG_NAMES.search(str(pair[0].name)) is not None,
            _TAG_NAMES.search(str(pair[1].name)) is None,
            "ner" not in str(pair[1].name).lower(),
            pair[1].distinct,
        )
    )
    if words:
        return {"text": words[0][0].name, "label": words[0][1].name}
    return {"label": spans[0]} if spans else {}


def _find_label_columns(profiles: Sequence[ColumnProfile]) -> list[str | int]:
    """The columns that say of one label each whether a row has it; empty if that is not so."""
    if any(_LABEL_NAMES.fullmatch(str(profile.name)) for profile in profiles):
        return []
    yes_no = [profile.name for profile in profiles if profile.is_yes_no]
    shares = [profile.name for profile in profiles if profile.is_yes_no or profile.is_share]
    found = yes_no if len(yes_no) >= _LEAST_LABEL_COLUMNS else shares
    return found if len(found) >= _LEAST_LABEL_COLUMNS else []


def list_columns(value: Any) -> list[Any]:
    """The columns that the value of an option names: one, or a list of them."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _find_second(name: Any, names: Sequence[str | int]) -> str | int | None:
    second = _SECOND_TEXTS.get(str(name).lower())
    return next((other for other in names if str(other).lower() == second), None)


def _may_be_label(profile: ColumnProfile) -> bool:
    """A column of a few values that come again, or of numbers that are called a label."""
    if profile.distinct < 2 or profile.has_fields or is_split_name(profile.name):
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
            found = [alias for alias in aliases if alias in values]
            if found and split not in values:
                options[split] = found[0]
        if values & {"train", *SPLIT_ALIASES["train"]}:
            return options
    return {}
