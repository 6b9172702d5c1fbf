"""What the columns of a file seem to be: text, second text, label. Told from a few rows."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from src.core.dataset_info import Task
from src.data.reading.column_profiles import (
    SAMPLE_ROWS,
    ColumnProfile,
    parse_number,
    sample_columns,
)
from src.data.reading.columns import ColumnSelection
from src.data.reading.decoding import InputFile, read_text_lines
from src.data.reading.encodings import choose_encoding
from src.data.reading.file_formats import TABLE_FORMATS, read_header
from src.data.reading.file_names import SPLIT_ALIASES, infer_format
from src.data.reading.header_rows import count_lines_before_header, propose_names
from src.data.reading.readers import FASTTEXT_MARK
from src.data.reading.sources import Source
from src.data.reading.split_column import is_split_name
from src.data.reading.spreadsheets import read_first_sheet_rows
from src.data.reading.table_headers import guess_delimiter, has_comments, repeats_first_row
from src.data.reading.table_rows import LONG_DELIMITERS, read_first_rows
from src.data.rows.token_labels import looks_like_tags

_LABEL_NAMES = re.compile(
    r"label|class|target|stars?|rating|category|sentiment|score|gold|polarity|topic|intent",
    re.IGNORECASE,
)
_TAG_NAMES = re.compile(r"tags?$|ner|labels?$", re.IGNORECASE)
_MOST_SPLITS = 10
# What has so many words is hardly the name of a column.
_SENTENCE_WORDS = 4
# the number in a label that has a unit behind it
NUMBER_PATTERN = "([-+]?[0-9][0-9.,]*)"
_SPLIT_VALUES = {*SPLIT_ALIASES, *itertools.chain(*SPLIT_ALIASES.values())}
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


def guess_text_format(path: Path, encodings: Sequence[str]) -> dict[str, str]:
    """The format of a file of lines whose name does not tell it: "conll" where they end on tags of
    words, "tsv" where all lines have equally many tabs, "csv" with another delimiter likewise,
    "label_first" where they begin with a few words that come again; empty if neither.
    """
    if not path.is_file() or infer_format(path) not in (None, "text"):
        return {}
    file = InputFile(path, path.name)
    lines = read_text_lines(file, choose_encoding(file, encodings).name)
    first_lines = list(itertools.islice(lines, SAMPLE_ROWS))
    if looks_like_tags(first_lines):
        return {"format": "conll"}
    sample = [line.strip() for line in first_lines if line.strip()]
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


def begins_with_sentence(source: Source, file: InputFile, format: str) -> bool:
    """Whether a cell of a table's first row is longer than names of columns are."""
    options, _ = source.reading_options(format).choose_encoding(file)
    names = read_header(file, options) if format in (*TABLE_FORMATS, "xlsx") else []
    return any(len(name.split()) >= _SENTENCE_WORDS for name in names)


def _holds_own_name(profile: ColumnProfile) -> bool:
    name = str(profile.name)
    is_number = profile.is_numeric and parse_number(name) is not None
    return is_number or name in profile.labels


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
        if profile.is_tokens
        and profile.list_lengths
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
