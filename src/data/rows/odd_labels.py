"""What should be known of labels as they stand in files: classes that look alike, that read like a
missing label, or that are no labels at all.
"""

import json
import re
from collections.abc import Iterable, Mapping

from src.core.entity_tags import OUTSIDE
from src.data.rows.labels import MULTI_LABEL_HINT, fold_look, write_label_map
from src.data.rows.records import RawRecord
from src.data.rows.tag_spellings import TAG_PATTERN
from src.data.rows.written_labels import are_multi_hot

# as programs write a missing value: R, Excel, pandas, MySQL
_MISSING_WORDS = (
    *("na", "n/a", "#n/a", "<na>", "nan", "none", "null", "nil", "\\n", "missing", "unknown"),
    *("-", "?", "."),
)
_QUOTED_LIST = re.compile(r"""\[\s*((["']).*\2)?\s*\]""")
# How a table with a word in each row becomes a file that is read.
WORD_TABLE_HINT = (
    "tags of words are read from lines of a word, a tab and its tag, with a blank line between "
    "sentences (data.source.format=conll), or from JSON lists of words and of tags (docs/data.md)"
)
# By the name to type for each.
_CELL_SEPARATORS = {
    ";#": ";#",
    "comma": ",",
    "semicolon": ";",
    "pipe": "|",
    "hash": "#",
    "><": "><",
    "newline": "\n",
    "space": " ",
}


def _suggest_merge(counts: Mapping[str, int]) -> str:
    """How to merge all labels that look alike, to be added to a sentence; empty where that is long
    or needs quotes. The commonest of them names the class.
    """
    commonest: dict[str, str] = {}
    for name in sorted(counts, key=lambda one: (counts[one], one)):
        commonest[fold_look(name)] = name
    pairs = write_label_map({name: commonest[fold_look(name)] for name in sorted(counts)})
    return f"; {pairs} merges them" if pairs else ""


def _suggest_leaving(counts: Mapping[str, int]) -> str:
    """How to leave out the marks for a missing label, likewise."""
    others = sorted(name for name in counts if name.casefold() not in _MISSING_WORDS)
    pairs = write_label_map({name: name for name in others})
    return f"; {pairs} leaves it out" if len(others) > 1 and pairs else ""


def is_missing_number(label: object) -> bool:
    """Whether a text stands for a number that is missing: NA, NaN, NULL, \\N and the like."""
    return isinstance(label, str) and label.strip().casefold() in _MISSING_WORDS


def drop_missing_number(record: RawRecord) -> RawRecord:
    """A row whose label is to be a number, without a label where a mark stands for a missing one,
    which is remarked.
    """
    if not is_missing_number(record.label):
        return record
    remark = describe_missing_number(str(record.label))
    return record._replace(label=None, remark=record.remark or remark)


def describe_missing_number(label: str) -> str:
    """The remark on a row with such a label."""
    return f"with the label '{label.strip()}', which stands for a missing value"


def parse_choices(cell: str) -> tuple[str, ...] | None:
    """The labels in the only list of a JSON object, such as {"choices": ["a", "b"]}; None if a cell
    is something else.
    """
    text = cell.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        parts = list(json.loads(text).values())
    except (ValueError, RecursionError):
        return None
    if len(parts) != 1 or not isinstance(parts[0], list):
        return None
    labels = tuple(label for label in parts[0] if isinstance(label, str))
    return labels if len(labels) == len(parts[0]) else None


def guess_label_separator(labels: Iterable[str]) -> tuple[str, list[str]] | None:
    """The name of the character that parts several labels in one cell, and the labels that look
    like such cells; None if there is no sign of any.
    """
    every = set(labels)
    if lists := sorted(label for label in every if _is_list(label)):
        return "comma", lists
    for name, separator in _CELL_SEPARATORS.items():
        inside = {label: _trim_cell(label, separator) for label in every}
        several = sorted(label for label in every if separator in inside[label])
        # a cell of one label may end on the separator too, as forms write it
        written = [label for label in every if separator in label]
        parts = {part.strip() for label in written for part in inside[label].split(separator)}
        simple = {inside[label] for label in every.difference(several)}
        if separator == " " and 4 * len(parts & simple) < 3 * len(parts):
            # names of classes have spaces too
            continue
        if several and "" not in parts and (len(parts & simple) > 1 or len(parts) < len(written)):
            return name, several
    return None


def _trim_cell(label: str, separator: str) -> str:
    """What stands between the signs at both ends of a cell: the brackets of "<a><b>", else a
    separator.
    """
    if separator == "><":
        return label.strip("<>")
    return label.strip().removeprefix(separator).removesuffix(separator).strip()


def are_word_tags(labels: Iterable[str]) -> bool:
    """Whether labels are O and tags of entities with prefixes."""
    names = {label.strip() for label in labels}
    prefixed = {name for name in names if TAG_PATTERN.fullmatch(name)}
    return OUTSIDE in names and bool(prefixed) and names == {*prefixed, OUTSIDE}


def _is_list(label: str) -> bool:
    """Whether a label is a list of labels as JSON or Python writes it, of words in quotes."""
    return parse_choices(label) is not None or _QUOTED_LIST.fullmatch(label.strip()) is not None


def describe_odd_labels(counts: Mapping[str, int]) -> list[str]:
    """What should be known of classes that were found in train, in sentences.

    It tells of classes that look alike, that read like a missing label, that look like several
    labels in one cell, and of rare ones.

    Args:
        counts: the rows of train by class.
    """
    remarks = []
    by_look: dict[str, list[str]] = {}
    for name in counts:
        by_look.setdefault(fold_look(name), []).append(name)
    variants = [alike for alike in by_look.values() if len(alike) > 1]
    if variants:
        shown = "; ".join(
            ", ".join(f"{name!r} ({counts[name]} rows)" for name in alike) for alike in variants
        )
        remarks.append(
            f"labels that look alike are classes of their own: {shown}{_suggest_merge(counts)}"
        )
    for name in counts:
        if name.casefold() in _MISSING_WORDS:
            remarks.append(
                f"the label '{name}' is a class ({counts[name]} rows); only an empty cell is a "
                f"missing label{_suggest_leaving(counts)}"
            )
    if (found := guess_label_separator(counts)) is not None:
        name, several = found
        option = f"data.source.label_separator={name}"
        if not name.isalnum():
            option = f"'data.source.label_separator=\"{name}\"'"
        remarks.append(
            f"{len(several)} of {len(counts)} classes look like several labels in one cell, such "
            f"as '{several[0]}'; every combination is a class of its own; "
            f"{option} {MULTI_LABEL_HINT}"
        )
    if are_multi_hot(counts):
        remarks.append(
            f"the classes are lists of 1 and 0, such as '{next(iter(counts))}'; every combination "
            f"is a class of its own; data.source.label_threshold=0.5 {MULTI_LABEL_HINT}"
        )
    if are_word_tags(counts):
        remarks.append(
            "the labels are tags of words (such as B-PER and O), so that each row is a word; "
            f"{WORD_TABLE_HINT}"
        )
    absent = [name for name in counts if not counts[name]]
    if absent:
        shown = ", ".join(f"'{name}'" for name in absent[:3]) + ", ..." * (len(absent) > 3)
        remarks.append(f"no row of train has {len(absent)} of {len(counts)} classes: {shown}")
    rare = [name for name in counts if 0 < counts[name] < 3]
    if rare:
        shown = ", ".join(f"'{name}'" for name in rare[:3]) + ", ..." * (len(rare) > 3)
        remarks.append(
            f"{len(rare)} of {len(counts)} classes have fewer than 3 rows in train: {shown}"
        )
    return remarks
