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
from src.data.header_rows import count_lines_before_header, propose_names
from src.data.json_rows import iter_json_objects
from src.data.label_cells import has_decimal_commas, split_labels
from src.data.labels import guess_label_separator
from src.data.nested_values import flatten_row
from src.data.readers import FASTTEXT_MARK
from src.data.sources import Source
from src.data.split_column import is_split_name
from src.data.spreadsheets import iter_sheet_values, read_first_sheet_rows
from src.data.table_headers import guess_delimiter, has_comments, repeats_first_row
from src.data.table_rows import LONG_DELIMITERS, read_first_row, read_first_rows
from src.data.tables import read_table

SAMPLE_ROWS = 1000
_LABEL_NAMES = re.compile(
    r"label|class|target|stars?|rating|category|sentiment|score|gold|polarity|topic|intent",
    re.IGNORECASE,
)
_MOST_SPLITS = 10
_SPLIT_VALUES = {*SPLIT_ALIASES, *itertools.chain(*SPLIT_ALIASES.values())}
# On average a text has no more tags, and no tag is longer in characters.
_MOST_TAGS = 6
_LONGEST_TAG = 40
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
        has_decimal_commas: whether numbers are written with a comma before their decimals.
        is_nested: whether some value is a list; is_tokens: whether all are lists of words.
        is_tags: whether values are a few names that come again, in other combinations.
        has_fields: whether some value has named parts.
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
    has_decimal_commas: bool = False
    is_nested: bool = False
    is_tokens: bool = False
    is_tags: bool = False
    has_fields: bool = False


def guess_text_format(path: Path, encodings: Sequence[str]) -> dict[str, str]:
    """The format of a file of lines whose name does not tell it: "tsv" where all lines have equally
    many tabs, "csv" with another delimiter likewise, "label_first" where they begin with a few
    words that come again; empty if neither.
    """
    if not path.is_file() or infer_format(path) not in (None, "text"):
        return {}
    file = InputFile(path, path.name)
    lines = read_text_lines(file, choose_encoding(file, encodings).name)
    sample = [line.strip() for line in itertools.islice(lines, SAMPLE_ROWS) if line.strip()]
    tabs = {line.count("\t") for line in sample}
    if len(tabs) == 1 and tabs != {0}:
        return {"format": "tsv"}
    if sample and all(line.startswith('"') for line in sample) and '" "' in sample[0]:
        return {"format": "csv", "delimiter": "space"}
    for delimiter in LONG_DELIMITERS:
        counts = {line.count(delimiter) for line in sample}
        if len(counts) == 1 and counts != {0}:
            return {"format": "csv", "delimiter": delimiter}
    if sample and all(line.startswith(FASTTEXT_MARK) for line in sample):
        return {"format": "label_first"}
    words = [line.split(maxsplit=1) for line in sample]
    first = {word[0] for word in words}
    several = len(words) > 1 and all(len(word) > 1 for word in words)
    # no marks of a list or the keys of YAML
    are_words = all(re.search(r"\w", word) and not word.endswith(":") for word in first)
    begins = several and are_words and 1 < len(first) <= len(words) / 5
    return {"format": "label_first"} if begins else {}


def guess_table_options(source: Source, file: InputFile, format: str) -> dict[str, Any]:
    """The options without which a table is not read as it is written: its delimiter, what stands
    before its header, names for its columns, and `header` where the first line seems to be a row:
    it has numbers where all rows have some, or a label of these.
    """
    options, _ = source.reading_options(format).choose_encoding(file)
    headed = source.header and source.columns is None
    if options.style is None and (format != "xlsx" or not headed):
        return {}
    found: dict[str, Any] = {}
    if options.style is not None and has_comments(file, options.style):
        found["comment"] = "hash"
        source = replace(source, comment="hash")
        options = options._replace(style=options.style._replace(comment="#"))
    if options.style is not None and (name := guess_delimiter(file, options.style)) is not None:
        found["delimiter"] = name
    if headed and source.skip_rows is None:
        found |= _guess_header_place(replace(source, **found), file, format)
    if headed and "columns" not in found:
        profiles = sample_columns(replace(source, **found), file, format)
        numbered = [profile.name for profile in profiles] == [*map(str, range(len(profiles)))]
        # where the header comes again, tables were joined
        joined = options.style is not None and repeats_first_row(
            file, source.table_style(format)._replace(encoding=options.encodings[0])
        )
        if not numbered and not joined and any(map(_holds_own_name, profiles)):
            found["header"] = False
    return found


def _guess_header_place(source: Source, file: InputFile, format: str) -> dict[str, Any]:
    options, _ = source.reading_options(format).choose_encoding(file)
    if options.style is None:
        rows = read_first_sheet_rows(file, source.sheet, 0)
    else:
        rows = read_first_rows(file, options.style)
    if skipped := count_lines_before_header(rows):
        return {"skip_rows": skipped}
    if options.style is not None and (names := propose_names(rows)) is not None:
        return {"skip_rows": rows[0][0], "columns": names}
    return {}


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
            rows = iter_json_objects(file, options.json_style, texts)
            start = [row for _, row in itertools.islice(rows, 2)]
            if len(start) == 1 and all(isinstance(part, list) for part in start[0].values()):
                # a table by column, of which none is called as the text is
                rows, start = iter_json_objects(file, options.json_style, [*start[0]]), []
            yield from map(flatten_row, itertools.chain(start, (row for _, row in rows)))
        case "xlsx":
            named = source.header or source.columns is not None
            for _, values, _ in iter_sheet_values(
                file,
                sheet=source.sheet,
                skipped=options.skipped_rows,
                header=source.header,
                names=source.columns,
            ):
                yield values if named else {int(name): cell for name, cell in values.items()}
        case "parquet":
            from pyarrow.parquet import ParquetFile

            readers.read_parquet_columns(file)
            with ParquetFile(file.path) as table:
                for batch in table.iter_batches(batch_size=SAMPLE_ROWS):
                    yield from map(flatten_row, batch.to_pylist())


def _profile_column(name: str | int, values: Sequence[Any]) -> ColumnProfile:
    texts = [str(value) for value in values if value is not None and str(value).strip()]
    distinct = dict.fromkeys(texts)
    plain = _without_decimal_commas(list(distinct))
    numbers = [_parse_number(text) for text in plain]
    known = [number for number in numbers if number is not None]
    is_numeric = bool(known) and len(known) == len(numbers)
    is_tags = not is_numeric and _are_tags(values)
    return ColumnProfile(
        name,
        tuple(itertools.islice(distinct, 3)),
        len(distinct),
        len(texts),
        is_numeric,
        is_numeric and all(number.is_integer() for number in known),
        sum(map(len, texts)) / max(1, len(texts)),
        tuple(distinct) if is_tags or len(distinct) <= len(texts) / 2 else (),
        bool(distinct) and {text.strip().lower() for text in distinct} <= _YES_NO,
        is_numeric and all(0 <= number <= 1 for number in known),
        bool(distinct) and has_decimal_commas(distinct),
        any(isinstance(value, list) for value in values),
        all(
            value is None
            or (isinstance(value, list) and all(isinstance(one, str) for one in value))
            for value in values
        ),
        is_tags,
        any(isinstance(value, dict) for value in _list_items(values)),
    )


def _are_tags(values: Sequence[Any]) -> bool:
    """Whether values are lists, or texts parted by one character, of few short names that come
    again.
    """
    lists = [value for value in values if isinstance(value, list)]
    if not lists:
        cells = [str(value) for value in values if value is not None and str(value).strip()]
        found = guess_label_separator(set(cells))
        if found is None:
            return False
        lists = [list(split_labels(cell, found[0])) for cell in cells]
    names = [str(name) for one in lists for name in one]
    return (
        len(set(names)) <= len(names) / 3
        and len(names) <= _MOST_TAGS * len(lists)
        and max(map(len, names), default=0) <= _LONGEST_TAG
    )


def _list_items(values: Sequence[Any]) -> Iterator[Any]:
    """Values, and what is in those that are lists."""
    for value in values:
        yield from value if isinstance(value, list) else (value,)


def _without_decimal_commas(texts: list[str]) -> list[str]:
    return [text.replace(",", ".") for text in texts] if has_decimal_commas(texts) else texts


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
        texts = [
            one
            for one in free
            if one.filled and not (one.is_numeric or one.is_nested or one.has_fields)
        ]
        texts = [one for one in texts if not one.is_tags] or texts
        if all(map(_may_be_label, texts)):
            # a text as a list of its words differs from row to row
            texts += [one for one in free if one.is_tokens and not _may_be_label(one)]
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
    if profile.is_tags or (profile.is_numeric and _LABEL_NAMES.search(str(profile.name))):
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
