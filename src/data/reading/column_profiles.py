"""What stands in the columns of a file, told from its first rows."""

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from src.data.reading import readers
from src.data.reading.bad_rows import close_files_of_errors
from src.data.reading.column_names import rank_label_name
from src.data.reading.columns import ColumnSelection
from src.data.reading.decoding import InputFile
from src.data.reading.json_rows import iter_json_objects
from src.data.reading.label_cells import YES_NO_WORDS, guess_decimal, split_labels
from src.data.reading.sources import Source
from src.data.reading.spreadsheets import iter_sheet_values
from src.data.reading.table_rows import read_first_row
from src.data.reading.tables import read_table
from src.data.rows.nested_values import flatten_row, join_parts, list_inner_texts, look_up
from src.data.rows.odd_labels import guess_label_separator, is_missing_number
from src.data.rows.token_labels import holds_entities
from src.data.rows.written_labels import are_multi_hot, are_tag_names, parse_written_list

SAMPLE_ROWS = 1000
# Where a file has fewer rows, as one with a row has, so many others are looked at.
_FEW_ROWS = 10
_MOST_FILES = 200
# One of so many rows is looked at behind the first.
_STEP = 50
# On average a text has no more tags, and no tag is longer in characters.
_MOST_TAGS = 6
_LONGEST_TAG = 40
# Seconds since 1970 are more from 1973 on.
_LEAST_STAMP = 1e8
# What stands behind a number that is not one.
_UNIT = re.compile(r"(?<=\d)\s*[^\d.,]{1,10}$")
# a date, with or without a time
_DATE = re.compile(
    r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d\d))"
    r"([T ,]+\d{1,2}:\d\d.*)?\s*$|\s*\d{1,2}:\d\d(:\d\d)?\s*$"
)
_SPLIT_NAME = re.compile("train|test|valid|dev", re.IGNORECASE)
# What a person of Prodigy says of a row.
VERDICTS = frozenset({"accept", "reject", "ignore"})
_YES_NO = {"0", "1", "0.0", "1.0", *YES_NO_WORDS}


class ColumnProfile(NamedTuple):
    """One column in a sample of rows.

    Args:
        name: its name, or its position where the table has no header.
        examples: up to three different values.
        distinct: the number of different values.
        is_numeric: whether all values are numbers, is_whole: whether these are whole.
        mean_characters: of the values as text.
        labels: the different values, if these are few enough to be labels; else empty.
        is_yes_no: whether all values are 0 and 1, or words or marks for them, or the column's name;
            is_share: whether all are numbers from 0 to 1.
        decimal: what stands before the decimals of numbers that Python does not read.
        has_unit: whether all are numbers with the same unit, such as a percent sign, behind them.
        is_nested: whether some value is a list; is_tokens: whether all are lists of words.
        is_tags: whether values are a few names that come again, in other combinations.
        has_fields: whether some value has named parts.
        list_lengths: of the values, where all are lists; else empty.
        holds_spans: whether some value is a list of entities as spans.
        mean_words: of the values as text, parted by white space.
        is_date: whether all values are dates or times.
        says_split: whether all values have the name of a split in them, as "2012test" has.
        is_stamp: whether all are large numbers that nearly all differ, as times in seconds and ids.
        are_multi_hot: whether all values are equally long lists of 1 and 0, written as text or not.
        holds_lists: whether values are lists that are written as text; holds_tags: whether these
            are tags of words; holds_offsets: whether they are the places of characters, one by one.
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
    decimal: Literal["dot", "comma"] | None = None
    has_unit: bool = False
    is_nested: bool = False
    is_tokens: bool = False
    is_tags: bool = False
    has_fields: bool = False
    list_lengths: tuple[int, ...] = ()
    holds_spans: bool = False
    mean_words: float = 1.0
    is_date: bool = False
    says_split: bool = False
    are_multi_hot: bool = False
    is_stamp: bool = False
    holds_lists: bool = False
    holds_tags: bool = False
    holds_offsets: bool = False


def sample_columns(
    source: Source,
    file: InputFile,
    format: str,
    *,
    deep: bool = False,
    beside: Sequence[InputFile] = (),
) -> list[ColumnProfile]:
    """The columns of the first rows of a file; none for formats that have no columns.

    Args:
        beside: further files, of which some are looked at where the first has a few rows.
        deep: where some column holds one value in all of these, as the label does in a file that is
            sorted by it, some rows from all over the file are looked at too.
    """
    with close_files_of_errors():
        found = _iter_rows(source, file, format)
        rows = list(itertools.islice(found, SAMPLE_ROWS))
        if len(rows) < _FEW_ROWS:
            further = (_iter_rows(source, one, format) for one in beside[:_MOST_FILES])
            rows += itertools.islice(itertools.chain.from_iterable(further), SAMPLE_ROWS)
        if format == "jsonl":
            _add_inner_labels(rows)
        profiles = _profile_rows(rows)
        if deep and any(profile.distinct == 1 for profile in profiles):
            rows += itertools.islice(found, None, None, _STEP)
            profiles = _profile_rows(rows)
    return profiles


def _profile_rows(rows: Sequence[dict[Any, Any]]) -> list[ColumnProfile]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [_profile_column(name, [row.get(name) for row in rows]) for name in names]


def _iter_rows(source: Source, file: InputFile, format: str) -> Iterator[dict[Any, Any]]:
    options, _ = source.reading_options(format).choose_encoding(file)
    match format:
        case "csv" | "tsv":
            style = options.style
            assert style is not None
            names: list[Any] = list(style.names or read_first_row(file, style))
            if not style.header and style.names is None:
                names = list(range(len(names)))
            unique = [name for name in names if names.count(name) == 1]
            # without a header, rows may lack cells only behind the column that is asked for
            last = ColumnSelection(unique[-1], None, None) if unique else None
            for record in read_table(file, last, style, keep_other=True) if last else ():
                yield {name: (record.other or {})[str(name)] for name in unique}
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


def _profile_column(name: str | int, found: Sequence[Any]) -> ColumnProfile:
    # a text in parts is a text
    values = [value if (text := join_parts(value)) is None else text for value in found]
    texts = [str(value) for value in values if value is not None and str(value).strip()]
    distinct = dict.fromkeys(texts)
    known_texts = [text for text in distinct if not is_missing_number(text)]
    if has_unit := _have_unit(known_texts):
        known_texts = [_UNIT.sub("", text) for text in known_texts]
    plain = _write_plainly(known_texts)
    numbers = [parse_number(text) for text in plain]
    known = [number for number in numbers if number is not None]
    is_numeric = bool(known) and len(known) == len(numbers)
    written = [one for value in values if (one := parse_written_list(value)) is not None]
    # not so where a few texts are in brackets
    written = written if 2 * len(written) > len(texts) or any(map(holds_entities, written)) else []
    holds_offsets = _hold_offsets(
        [value for value in (*values, *written) if isinstance(value, list)]
    )
    is_tags = not is_numeric and not holds_offsets and _are_tags(values)
    return ColumnProfile(
        name,
        tuple(itertools.islice(distinct, 3)),
        len(distinct),
        len(texts),
        is_numeric,
        is_numeric and all(number.is_integer() for number in known),
        sum(map(len, texts)) / max(1, len(texts)),
        tuple(distinct) if is_tags or len(distinct) <= len(texts) / 2 else (),
        _say_yes_or_no(name, distinct),
        is_numeric and all(0 <= number <= 1 for number in known),
        guess_decimal(known_texts),
        has_unit and is_numeric,
        any(isinstance(value, list) for value in values),
        all(
            value is None
            or (isinstance(value, list) and all(isinstance(one, str) for one in value))
            for value in values
        ),
        is_tags,
        any(isinstance(value, dict) for value in _list_items(values)),
        *_profile_lists(values, written),
        sum(len(text.split()) for text in texts) / max(1, len(texts)),
        bool(distinct) and all(map(_DATE.match, distinct)),
        bool(distinct) and all(map(_SPLIT_NAME.search, distinct)),
        are_multi_hot(values),
        is_numeric and 10 * len(distinct) > 9 * len(texts) and min(map(abs, known)) >= _LEAST_STAMP,
        bool(written),
        bool(written) and all(map(are_tag_names, filter(None, written))),
        holds_offsets,
    )


def _add_inner_labels(rows: Sequence[dict[str, Any]]) -> None:
    """Give rows the values in their lists of objects that may be labels, by the paths of these."""
    for name in list(dict.fromkeys(name for row in rows for name in row)):
        values = [row.get(name) for row in rows]
        if any(holds_entities(value) or join_parts(value) is not None for value in values):
            continue
        path = _find_inner_label(name, values)
        found = [look_up(row, path) for row in rows] if path else []
        # the choices of a question are the same in all rows
        if any(one != found[0] for one in found):
            for row, one in zip(rows, found, strict=True):
                row[path] = one


def _find_inner_label(name: str, values: Sequence[Any]) -> str:
    """The path of the texts in lists of objects that are few, short and come again; the most likely
    by its name, where there are several; empty if there is none.
    """
    found: dict[str, list[str]] = {}
    for value in values:
        for path, text in list_inner_texts(value) if isinstance(value, list) else ():
            found.setdefault(path, []).append(text)
    likely = [
        path
        for path, texts in found.items()
        if 1 < len({*texts}) <= len(texts) / 2
        and max(map(len, texts)) <= _LONGEST_TAG
        and len(texts) <= _MOST_TAGS * len(values)
    ]
    # "name" is that of the label itself
    best = min(
        likely, key=lambda path: rank_label_name(f"{name}.{path}", is_numeric=False), default=""
    )
    return best and f"{name}.{best}"


def _say_yes_or_no(name: str | int, texts: Collection[str]) -> bool:
    words = {text.strip().lower() for text in texts}
    return bool(words) and (words <= _YES_NO or words == {str(name).strip().lower()})


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


def _profile_lists(
    values: Sequence[Any], written: Sequence[list[Any]]
) -> tuple[tuple[int, ...], bool]:
    """The lengths of lists, and whether these or those that are written as text hold spans."""
    lists = [value for value in values if isinstance(value, list)]
    lengths = tuple(map(len, lists)) if len(lists) == len(values) else ()
    return lengths, any(map(holds_entities, [*lists, *written]))


def _hold_offsets(lists: Sequence[list[Any]]) -> bool:
    """Whether lists hold rising whole numbers, most of them one above the one before, as the places
    of the characters of words have them.
    """
    filled = [one for one in lists if len(one) > 2]
    if not filled or not all(type(item) is int for one in lists for item in one):
        return False
    steps = [later - earlier for one in filled for earlier, later in itertools.pairwise(one)]
    return min(steps) > 0 and 2 * steps.count(1) > len(steps)


def _list_items(values: Sequence[Any]) -> Iterator[Any]:
    """Values, and what is in those that are lists."""
    for value in values:
        yield from value if isinstance(value, list) else (value,)


def _have_unit(texts: Sequence[str]) -> bool:
    """Whether all texts are numbers with the same few letters or signs behind them."""
    units = [found[0].strip() if (found := _UNIT.search(text)) else "" for text in texts]
    return len(texts) > 1 and len(set(units)) == 1 and units[0] != ""


def _write_plainly(texts: list[str]) -> list[str]:
    """Numbers as Python reads them; other texts unchanged."""
    decimal = guess_decimal(texts)
    if decimal is None:
        return texts
    point, group = (",", ".") if decimal == "comma" else (".", ",")
    return [text.replace(group, "").replace(point, ".") for text in texts]


def parse_number(text: str) -> float | None:
    """The number that a text is; None if it is none."""
    return float(text) if re.fullmatch(r"\s*-?\d+(\.\d+)?(e-?\d+)?\s*", text) else None
