"""What the rows of files hold, for a look at them before a run."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from src.core.user_errors import UserError
from src.data.reading.reading_remarks import RemarkCounts
from src.data.reading.sources import Source
from src.data.rows.labels import (
    LabelSet,
    RawLabel,
    as_label_set,
    canonical_spelling,
    normalize_labels,
)
from src.data.rows.tag_schemes import TagSurvey
from src.data.rows.token_labels import TokenLabels

SAMPLE_TEXTS = 1000
# In so many rows of a split all labels are hardly the same by chance.
_LEAST_ROWS = 10


class FileContents(NamedTuple):
    """What all rows of the files hold, by split where a split matters."""

    rows: dict[str, int]
    labels: Counter[str]
    # of each other split, that no row of train has
    new_labels: dict[str, list[str]]
    unlabelled: int
    empty: int
    lengths: list[int]
    # of the first rows
    sample_texts: list[str]
    # whether some row may have several
    has_label_sets: bool
    remarks: list[str]
    # of words; None where texts are labelled as a whole
    tags: TagSurvey | None
    # why they are not told of
    tag_problem: str | None
    # of each other split that has one alone, where train has several
    lone_labels: dict[str, str]


def read_contents(
    source: Source,
    tag_names: Sequence[str | float] | None,
    map_labels: Callable[[RawLabel | LabelSet], RawLabel | LabelSet] | None = None,
) -> FileContents:
    """Read all rows of all splits.

    Args:
        tag_names: of tags that stand there as numbers.
        map_labels: gives the classes of the labels of a row, as `data.label_map` does.

    Raises:
        UserError: a row cannot be read.
    """
    rows: dict[str, int] = {}
    labels: Counter[str] = Counter()
    by_split: dict[str, set[str]] = {}
    unlabelled = empty = 0
    lengths: list[int] = []
    sample_texts: list[str] = []
    has_label_sets = source.select_columns().has_label_columns or bool(source.label_separator)
    tags: TagSurvey | None = None
    tag_problem: str | None = None
    remarks = RemarkCounts()
    for split in source.available_splits():
        rows[split] = 0
        for record in source.read_records(split):
            rows[split] += 1
            remarks.count(split, record)
            lengths.append(len(record.text) + len(record.pair or ""))
            if not record.text.strip():
                # a row that is left out, so that its label is none either
                empty += 1
                continue
            if map_labels is not None and not isinstance(record.label, TokenLabels):
                record = record._replace(label=map_labels(record.label))
            if record.label is None:
                unlabelled += source.label is not None
            if isinstance(record.label, TokenLabels):
                tags = tags or TagSurvey(tag_names)
                try:
                    tags.add(split, record)
                except UserError as error:
                    tag_problem = tag_problem or str(error)
            else:
                found = normalize_labels(as_label_set(record.label))
                spellings = set(map(canonical_spelling, found))
                labels.update(spellings)
                by_split.setdefault(split, set()).update(spellings)
                least = 2 if source.label_threshold is None else 0
                several = isinstance(record.label, tuple) and len(record.label) >= least
                has_label_sets = has_label_sets or several
            if len(sample_texts) < SAMPLE_TEXTS:
                sample_texts.append(record.text)
    known = by_split.get("train", set())
    new_labels = {split: sorted(there - known) for split, there in by_split.items() if known}
    return FileContents(
        rows,
        labels,
        {split: found for split, found in new_labels.items() if found},
        unlabelled,
        empty,
        lengths,
        sample_texts,
        has_label_sets,
        remarks.describe(),
        tags,
        tag_problem,
        {
            split: next(iter(there))
            for split, there in by_split.items()
            if split != "train" and len(there) == 1 < len(known) and rows[split] >= _LEAST_ROWS
        },
    )
