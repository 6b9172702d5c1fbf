"""What the columns of a file seem to be: text, second text, label. Told from a few rows."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from src.data.reading.column_names import (
    find_named_second,
    find_second_text,
    is_key_name,
    is_reply_name,
    is_usual_text_name,
    rank_label_name,
    says_label,
    weigh_text_name,
)
from src.data.reading.column_profiles import VERDICTS, ColumnProfile
from src.data.reading.columns import ColumnSelection
from src.data.reading.label_guesses import (
    MOST_CLASSES,
    NAMELESS_RANK,
    find_label_columns,
    find_labels,
    is_class_number,
    may_be_label,
    rank_name,
)
from src.data.rows.labels import REGRESSION_HINT

_TAG_NAMES = re.compile(r"tags?$|ner|labels?$", re.IGNORECASE)
# Of a text and its pair, or of two texts that may each be it, the longer has at most so many times
# the characters of the shorter.
_MOST_TIMES = 5
_ALIKE_TIMES = 1.6
# A text has at least so many words where nothing else says that it is one.
_LEAST_WORDS = 3


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
        return [one for one in _drop_verdicts(profiles) if one.name not in taken]

    chosen |= _find_token_columns(profiles, chosen)
    texts = _find_texts(find_free())
    if "text" not in chosen:
        if (text := _choose_text(texts)) is None:
            return None
        chosen["text"] = text.name
        if "pair" not in chosen and (beside := _find_text_beside(text, texts)) is not None:
            chosen |= {"text": beside[0], "pair": beside[1]}
    second = None if isinstance(chosen["text"], list) else find_second_text(chosen["text"], names)
    if "pair" not in chosen and second in [one.name for one in texts if not _holds_classes(one)]:
        chosen["pair"] = second
    if "label" not in chosen and (several := find_label_columns(find_free())):
        chosen["label"] = several
    elif "label" not in chosen and (labels := find_labels(find_free(), chosen["text"])):
        chosen["label"] = labels[0].name
    return ColumnSelection(chosen["text"], chosen.get("pair"), chosen.get("label"))


def _drop_verdicts(profiles: Sequence[ColumnProfile]) -> list[ColumnProfile]:
    """The columns without Prodigy's `answer`, which is no label beside a list of choices."""
    if not any(one.name == "accept" and one.is_nested for one in profiles):
        return list(profiles)
    return [one for one in profiles if not (one.labels and {*one.labels} <= VERDICTS)]


def _find_texts(profiles: Sequence[ColumnProfile]) -> list[ColumnProfile]:
    """The columns that may hold texts, the likeliest first."""
    texts = [
        one
        for one in profiles
        if one.filled and not (one.is_numeric or one.is_nested or one.has_fields)
    ]
    texts = [one for one in texts if not one.is_tags] or texts
    texts += [one for one in profiles if _holds_paragraphs(one)]
    if all(map(may_be_label, texts)):
        # a text as a list of its words differs from row to row
        texts += [one for one in profiles if one.is_tokens and not may_be_label(one)]
    most = max((one.filled for one in profiles), default=0)

    def rank(profile: ColumnProfile) -> tuple[bool, float]:
        # a column that is called so may hold a note on some rows, or a class
        often = 2 * profile.filled > most and not may_be_label(profile)
        is_text = often and profile.mean_words >= _LEAST_WORDS
        share = profile.filled / max(1, most)
        return is_text and is_usual_text_name(profile.name), share * _weigh_text(profile)

    return sorted(texts, key=rank, reverse=True)


def _holds_paragraphs(profile: ColumnProfile) -> bool:
    """Whether a column holds lists of texts of several words, as many as there are. As many in all
    rows are choices, as of a question.
    """
    return _holds_texts(profile) and len({*profile.list_lengths}) > 1


def _holds_texts(profile: ColumnProfile) -> bool:
    items = sum(profile.list_lengths)
    words = profile.mean_words * len(profile.list_lengths)
    return profile.is_tokens and not profile.is_tags and words >= _LEAST_WORDS * items > 0


def _weigh_text(profile: ColumnProfile) -> float:
    """How likely a column is that of the text: by its length, its name, and how much of it comes
    again or is missing.
    """
    is_word = profile.mean_words < 1.5 and all(map(str.isascii, profile.examples))
    return (
        profile.mean_characters
        * profile.distinct
        * weigh_text_name(profile.name)
        * (0.2 if is_word else 1)
        * (0.01 if profile.is_date or profile.holds_tags else 1)
        * (0.2 if profile.holds_lists else 1)
    )


def _choose_text(texts: Sequence[ColumnProfile]) -> ColumnProfile | None:
    """The likeliest text, where one of two that belong together is about as likely, the first of
    these; None if it is a date, or the label.
    """
    if not texts:
        return None
    by_name = {one.name: one for one in texts}
    for one in texts:
        if find_named_second(one.name, list(by_name)) is not None and not may_be_label(one):
            return one
        second = by_name.get(find_second_text(one.name, list(by_name)) or "")
        alike = second is not None and _are_alike(one, second, _MOST_TIMES)
        if alike and not may_be_label(one) and 4 * _weigh_text(one) > _weigh_text(texts[0]):
            return one
    is_label = may_be_label(texts[0]) and rank_label_name(texts[0].name, is_numeric=False) < 3
    return None if texts[0].is_date or is_label or _is_key(texts[0]) else texts[0]


def _is_key(profile: ColumnProfile) -> bool:
    """Whether a column holds a word of its own in each row, and is called as a key of rows is."""
    is_word = profile.mean_words == 1 and profile.distinct == profile.filled
    return is_word and is_key_name(profile.name)


def _find_text_beside(
    text: ColumnProfile, texts: Sequence[ColumnProfile]
) -> tuple[int, int] | None:
    """The positions of a text and its pair in a table without names: beside each other, and of
    about the same length.
    """
    for other in texts:
        one, two = text.name, other.name
        if isinstance(one, str) or isinstance(two, str):
            return None
        if (
            abs(one - two) == 1
            and min(text.mean_words, other.mean_words) >= _LEAST_WORDS
            and not may_be_label(other)
            and _are_alike(text, other, _ALIKE_TIMES)
        ):
            return min(one, two), max(one, two)
    return None


def _are_alike(one: ColumnProfile, other: ColumnProfile, times: float) -> bool:
    """Whether the texts of two columns have about the same length."""
    lengths = sorted((one.mean_characters, other.mean_characters))
    return lengths[1] <= times * lengths[0]


def describe_doubts(
    profiles: Sequence[ColumnProfile], columns: ColumnSelection, guessed: Collection[str]
) -> Iterator[str]:
    """What is unsure of columns that were guessed, in sentences.

    Args:
        guessed: which of `text`, `pair` and `label` were.
    """
    by_name = {one.name: one for one in profiles}
    taken = {*columns.text_columns, columns.pair, *columns.label_columns}
    free = [one for one in _drop_verdicts(profiles) if one.name not in taken]
    text = by_name.get(columns.text) if isinstance(columns.text, str | int) else None
    if "text" in guessed and text is not None and columns.pair is None:
        also = [
            str(one.name)
            for one in _find_texts(free)
            if 2 * _weigh_text(one) >= _weigh_text(text) and one.mean_words >= _LEAST_WORDS
            if not is_reply_name(one.name)
        ]
        if also:
            yield (
                f"{', '.join(also)}: texts too, which are not taken; "
                f"data.source.text=[{text.name},{also[0]}] joins columns"
            )
    if "pair" in guessed and isinstance(columns.pair, int):
        yield f"columns {columns.text} and {columns.pair} are taken for a pair of texts"
    for one in free:
        if _holds_texts(one) and len({*one.list_lengths}) == 1 < one.list_lengths[0]:
            yield (
                f"{one.name}: {one.list_lengths[0]} texts in each row, as the choices of a "
                "question, of which none is read; a label that is the number of one cannot be "
                "learnt so"
            )
    if "label" not in guessed or columns.has_label_columns or columns.label is None:
        return
    if columns.label not in by_name:
        # the names of files are the labels
        return
    label = by_name[columns.label]
    if is_class_number(label):
        yield (
            f"the {label.distinct} whole numbers of {label.name} are taken for classes; "
            f"where they are amounts, {REGRESSION_HINT}"
        )
    # beside "label" nothing else is meant by a name that says more
    least = rank_name(label) if says_label(label.name) else max(2, rank_name(label))
    others = [one for one in find_labels(free, columns.text) if rank_name(one) <= least]
    shown = ", ".join(f"{one.name} ({one.distinct:,} different)" for one in others[:4])
    named = not isinstance(label.name, int) and not _TAG_NAMES.search(str(label.name))
    if rank_name(label) >= NAMELESS_RANK and named and not (label.holds_spans or label.holds_tags):
        yield (
            f"no column is called as a label is; {label.name} is a guess"
            + f", and so would be {shown}" * bool(shown)
            + " (data.source.label=COLUMN)"
        )
    elif shown:
        yield f"the label may be another column: {shown} (data.source.label=COLUMN)"


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
        and not other.has_fields
        and not any(map(_holds_texts, (profile, other)))
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
    spans += [one.name for one in profiles if one.holds_tags]
    return {"label": spans[0]} if spans else {}


def _holds_classes(profile: ColumnProfile) -> bool:
    """A column of a few short values that come again."""
    few = profile.distinct <= min(MOST_CLASSES, profile.filled / _MOST_TIMES)
    return few and profile.mean_words < _LEAST_WORDS


def list_columns(value: Any) -> list[Any]:
    """The columns that the value of an option names: one, or a list of them."""
    return list(value) if isinstance(value, list | tuple) else [value]
