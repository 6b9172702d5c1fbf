"""What the columns of a file seem to be: text, second text, label. Told from a few rows."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from src.core.dataset_info import Task
from src.data.reading.column_profiles import (
    ColumnProfile,
)
from src.data.reading.columns import ColumnSelection
from src.data.reading.file_names import SPLIT_ALIASES
from src.data.reading.sources import Source
from src.data.reading.split_column import is_split_name

_LABEL_NAMES = re.compile(
    r"label|class|target|stars?|rating|category|sentiment|score|gold|polarity|topic|intent",
    re.IGNORECASE,
)
_TAG_NAMES = re.compile(r"tags?$|ner|labels?$", re.IGNORECASE)
_MOST_SPLITS = 10
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
