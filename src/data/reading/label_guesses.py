"""Which columns may hold the label of a row, and what task fits it. Told from a few rows."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from src.core.dataset_info import Task
from src.data.reading.column_names import is_person_name, rank_label_name, split_name
from src.data.reading.column_profiles import ColumnProfile
from src.data.reading.columns import ColumnSelection
from src.data.reading.label_cells import are_repeated_names
from src.data.reading.split_column import is_split_name

# Beside a column that is called so, columns of yes and no are no labels.
_LABEL_NAMES = re.compile(
    r"label|class|target|stars?|rating|category|sentiment|score|gold|polarity|topic|intent",
    re.IGNORECASE,
)
_KNOWN_LABELS = frozenset(
    """
    positive negative neutral pos neg spam ham entailment contradiction joy sadness anger fear love
    surprise disgust toxic hate hateful offensive offense fake real sarcastic ironic
    """.split()  # noqa: SIM905 - as a list it would have fifty lines
)
# of a name that says nothing of labels
NAMELESS_RANK = 3
# of what is said about a row and not about its text
_BESIDE_RANK = 5
# the number in a label that has a unit behind it
NUMBER_PATTERN = "([-+]?[0-9][0-9.,]*)"
# So many columns of yes and no, or more, are labels of which a row may have several.
_LEAST_LABEL_COLUMNS = 3
# So many classes are few.
MOST_CLASSES = 30
# Classes are called by numbers below it.
_MOST_NUMBERS = 200
# Numbers of columns that are called so are more or less, and no classes.
_MEASURE_WORDS = frozenset(
    """
    score scores rating ratings value price amount points age count grade length intensity year
    valence arousal similarity relatedness mean average total percent
    """.split()  # noqa: SIM905 - likewise
)
# What columns that belong together have in common, before what each is about.
_NAME_BEGIN = re.compile(r"([A-Za-z][A-Za-z0-9]*[_.-]+)[\w.-]*\w$", re.ASCII)


def find_labels(profiles: Sequence[ColumnProfile], text: Any) -> list[ColumnProfile]:
    """The columns that may be the label, the likeliest first: by their names, then single labels
    before lists, then those with the fewest values. Where columns have no names, numbers with
    decimals go first, then those of a few values that are nearest to the text, before it rather
    than behind.

    Args:
        text: the column of the text.
    """
    most = max((one.filled for one in profiles), default=0)

    def rank(profile: ColumnProfile) -> tuple[Any, ...]:
        nameless = isinstance(profile.name, int)
        near = isinstance(profile.name, int) and isinstance(text, int)
        return (
            # few rows are judged twice
            3 * profile.filled < most,
            rank_name(profile),
            profile.is_nested,
            not (nameless and profile.is_numeric and not profile.is_whole),
            nameless and profile.distinct > MOST_CLASSES,
            abs(int(profile.name) - int(text) + 0.1) if near else 0,
            profile.distinct,
        )

    found = [one for one in profiles if may_be_label(one)]
    if all(rank_name(one) > NAMELESS_RANK for one in found):
        # a number that is no count of rows
        found += [
            one
            for one in profiles
            if one.is_numeric and not one.is_whole and one.distinct > 1 and one not in found
            if not one.is_stamp or rank_name(one) < NAMELESS_RANK
            if rank_name(one) <= NAMELESS_RANK
        ]
    return sorted(found, key=rank)


def find_label_columns(profiles: Sequence[ColumnProfile]) -> list[str | int]:
    """The columns that say of one label each whether a row has it; empty if that is not so."""
    if any(_LABEL_NAMES.fullmatch(str(profile.name)) for profile in profiles):
        return []
    others = [one for one in profiles if not (one.is_yes_no or one.is_share)]
    if any(may_be_label(one) and rank_name(one) < NAMELESS_RANK for one in others):
        return []
    every = [one for one in profiles if rank_name(one) < _BESIDE_RANK]
    if sum(one.distinct > 1 for one in every if one.is_yes_no or one.is_share) < 2:
        # what never changes says nothing, such as counts that are 0
        return []
    yes_no = [profile.name for profile in every if profile.is_yes_no]
    shares = [profile.name for profile in every if profile.is_yes_no or profile.is_share]
    found = yes_no if len(yes_no) >= _LEAST_LABEL_COLUMNS else shares
    return found if len(found) >= _LEAST_LABEL_COLUMNS else []


def describe_label_columns(
    profiles: Sequence[ColumnProfile], columns: ColumnSelection
) -> Iterator[str]:
    """That columns whose names begin alike hold yes and no, and could be labels, in a sentence for
    every such beginning.
    """
    taken = {*columns.text_columns, columns.pair, columns.split_column}
    if columns.has_label_columns:
        return
    names = [str(one.name) for one in profiles]
    label = str(columns.label)
    numbered = [label, *(name for name in names if re.fullmatch(rf"{re.escape(label)}_\d+", name))]
    if columns.label is not None and are_repeated_names(numbered):
        yield (
            f"only the first of {len(numbered)} columns that are called {label!r} is taken; "
            f"{_format_names(numbered)} takes all of them, a label in each"
        )
    alike: dict[str, list[str]] = {}
    for one in profiles:
        found = _NAME_BEGIN.match(str(one.name))
        if one.is_yes_no and found is not None and one.name not in taken:
            alike.setdefault(found[1], []).append(str(one.name))
    for begin, names in alike.items():
        if 1 < len(names) <= MOST_CLASSES:
            yield (
                f"{len(names)} columns that begin with {begin!r} hold yes and no; "
                f"{_format_names(names)} takes them for labels, of which a row may have several"
            )


def _format_names(names: Sequence[str]) -> str:
    """The columns of labels, as they are typed."""
    quoted = [name if name.replace("_", "").isalnum() else f'"{name}"' for name in names]
    return f"'data.source.label=[{','.join(quoted)}]'"


def may_be_label(profile: ColumnProfile) -> bool:
    """A column of a few values that come again, or of numbers that are called a label."""
    if profile.distinct < 2 or profile.has_fields or profile.holds_offsets or profile.is_date:
        return False
    if is_split_name(profile.name):
        return False
    is_called_so = rank_name(profile) < NAMELESS_RANK
    is_beside = is_person_name(profile.name) or profile.is_stamp or profile.says_split
    if is_beside and not is_called_so:
        return False
    if profile.is_tags or (profile.is_numeric and is_called_so):
        return True
    if profile.is_numeric and not profile.is_whole and isinstance(profile.name, int):
        return True
    return profile.distinct <= 2 or profile.distinct <= profile.filled / 2


def rank_name(profile: ColumnProfile) -> int:
    """The rank of a name; where it says nothing, values that are known as labels do."""
    rank = rank_label_name(profile.name, is_numeric=profile.is_numeric)
    known = sum(value.strip().casefold() in _KNOWN_LABELS for value in profile.labels)
    return rank - 1 if rank == NAMELESS_RANK and 2 * known > len(profile.labels) else rank


def guess_task(profile: ColumnProfile | None) -> Task:
    """The task that fits a column of labels: numbers are a regression unless they are few and
    whole.
    """
    if profile is None:
        return "masked_lm"
    if profile.holds_tags or profile.holds_spans:
        return "token_classification"
    most = 2 if not profile.is_whole else _MOST_NUMBERS if is_class_number(profile) else 20
    return "regression" if profile.is_numeric and profile.distinct > most else "classification"


def is_class_number(profile: ColumnProfile) -> bool:
    """Whether many whole numbers may be those of classes: all from 0 or 1 on, but for some that are
    rare, and each in several rows, in a column that is not called as a measure is.
    """
    numbers = sorted(int(float(text)) for text in profile.labels) if profile.is_whole else []
    return (
        20 < len(numbers) == profile.distinct
        and numbers[0] in (0, 1)
        and numbers[-1] < _MOST_NUMBERS
        and 10 * len(numbers) >= 9 * (numbers[-1] - numbers[0] + 1)
        and 3 * len(numbers) <= profile.filled
        and _MEASURE_WORDS.isdisjoint(split_name(profile.name))
    )
