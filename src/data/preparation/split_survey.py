"""The first reading of a split of the source: which rows stay, and the numbers that are kept of
them, since no text is.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from src.core.dataset_info import TEXT_TASKS, Task
from src.core.printing import print_line
from src.data.preparation.cleaning import Cleaning, DigestSet, hash_text
from src.data.preparation.division import DivisionColumn
from src.data.preparation.label_map import LabelMap
from src.data.preparation.near_duplicates import TextSigner
from src.data.reading.reading_remarks import RemarkCounts
from src.data.reading.sources import Source
from src.data.rows.labels import as_label_set, require_single_label
from src.data.rows.odd_labels import drop_missing_number
from src.data.rows.records import DataSource, RawRecord
from src.data.rows.regression_targets import parse_regression_target
from src.data.rows.tag_schemes import TagSurvey

# A note is printed for a longer text, since it decides how much memory is needed.
LARGE_TEXT_CHARACTERS = 1 << 24


class SurveyedSplit(NamedTuple):
    """A split of the source during the survey.

    Args:
        places: for each row, 1 if cleaning kept it, else 0.
        labels: where the first row with each label stands, or with each set of several labels, in
            the order of those rows.
        codes: for each kept row, its label's index in `labels`, or its value; empty without labels.
        digests: for each kept row its hash, if hashes are needed, else empty.
        column_values: for each kept row a hash of its group, or its time, if a column divides the
            rows, else empty.
        characters: of all kept rows, both texts.
        has_pairs: whether any kept row has a second text.
    """

    places: np.ndarray
    labels: dict[Any, str]
    codes: np.ndarray
    digests: np.ndarray
    column_values: np.ndarray
    characters: int
    has_pairs: bool

    def drop_rows(self, dropped: np.ndarray) -> "SurveyedSplit":
        """The split without some of the kept rows.

        Args:
            dropped: for each kept row whether it goes, [kept] bool.
        """
        self.places[np.flatnonzero(self.places)[dropped]] = 0
        kept = {
            name: values[~dropped] if len(values := getattr(self, name)) else values
            for name in ("codes", "digests", "column_values")
        }
        return self._replace(**kept)


@dataclass(frozen=True, kw_only=True)
class SplitSurveyor:
    """Reads and cleans the splits of a source, held-out ones first, since train leaves out what
    they hold.

    Args:
        task, source, cleaning, label_map: as in `Corpus`.
        takes_splits: whether rows will be held out of train, so that other training rows may turn
            out to repeat them.
        division: the column that divides the rows, if one does.
        tags: where words have labels, gathers these.
        counts: of rows read, kept and dropped, by split.
        remarks: on how rows were read.
        held_out: hashes of the rows of held-out splits.
        signatures: MinHash signatures of all kept rows in the order in which they were read, if
            near duplicates are looked for.
    """

    task: Task
    source: DataSource
    cleaning: Cleaning
    label_map: LabelMap | None
    takes_splits: bool
    division: DivisionColumn | None = None
    tags: TagSurvey | None = None
    counts: Counter[str] = field(default_factory=Counter)
    remarks: RemarkCounts = field(default_factory=RemarkCounts)
    held_out: DigestSet = field(default_factory=DigestSet)
    signatures: bytearray = field(default_factory=bytearray)

    def survey_split(self, split: str) -> SurveyedSplit:
        """Read and clean one split of the source."""
        training, heeded = split == "train", self.cleaning.overlap == "drop"
        # where training rows may repeat held-out ones, by choice or until rows are held out
        needs_digests = not heeded or (training and self.takes_splits)
        places, digests = bytearray(), array("Q")
        signer = TextSigner() if self.cleaning.near_duplicates is not None else None
        labels: dict[Any, str] = {}
        numbers: dict[Any, int] = {}
        codes: array[Any] = array("d" if self.task == "regression" else "i")
        column_values: array[Any] = array("d" if self._divides_by_time else "Q")
        letters, has_pairs = 0, False
        for row, record in self._iter_clean_records(split):
            places.extend(bytes(row - len(places)) + b"\1")
            letters += _count_letters(record)
            has_pairs |= record.pair is not None
            if needs_digests:
                digests.append(hash_text(record.text, record.pair))
            elif not training:
                self.held_out.add(hash_text(record.text, record.pair))
            if signer is not None:
                self.signatures.extend(signer.sign(record.text, record.pair))
            # times of rows that are held out already divide nothing
            if self.division is not None and (training or not self._divides_by_time):
                column_values.append(self.division.read_value(record))
            if self.tags is not None:
                self.tags.add(split, record)
            elif self.task == "regression":
                number = require_single_label(record.label, record.where)
                codes.append(parse_regression_target(number, record.where))
            elif self.task not in TEXT_TASKS:
                label = (
                    as_label_set(record.label, record.where)
                    if self.task == "multi_label"
                    else require_single_label(record.label, record.where)
                )
                labels.setdefault(label, record.where)
                codes.append(numbers.setdefault(label, len(numbers)))
        places.extend(bytes(self.counts[f"{split}/read"] - len(places)))
        return SurveyedSplit(
            np.frombuffer(places, dtype=np.uint8),
            labels,
            np.frombuffer(codes, dtype=codes.typecode),
            np.frombuffer(digests, dtype=np.uint64),
            np.frombuffer(column_values, dtype=np.float64 if self._divides_by_time else np.uint64),
            letters,
            has_pairs,
        )

    @property
    def _divides_by_time(self) -> bool:
        return self.division is not None and self.division.kind == "time"

    def _read_records(self, split: str) -> Iterator[RawRecord]:
        if self.division is not None and isinstance(self.source, Source):
            return self.source.read_records(split, keep_other=True)
        return self.source.read_records(split)

    def _iter_clean_records(self, split: str) -> Iterator[tuple[int, RawRecord]]:
        """Iterate over the rows that stay, each with its number in the source."""
        # cleaning yields a row before it asks for the next, so this is the number of that row
        latest = -1

        def numbered() -> Iterator[RawRecord]:
            nonlocal latest
            for record in self._read_records(split):
                latest += 1
                if self.task == "regression":
                    record = drop_missing_number(record)
                self.remarks.count(split, record)
                yield record

        rows_with_progress = tqdm(
            numbered(), desc=f"read {split}", unit=" texts", delay=1, disable=None
        )
        forbidden = self.held_out if split == "train" and self.cleaning.overlap == "drop" else None
        for record in self.cleaning.clean_records(
            rows_with_progress,
            split=split,
            labelled=self.task not in TEXT_TASKS,
            counts=self.counts,
            forbidden=forbidden,
            label_map=self.label_map,
        ):
            yield latest, record


def _count_letters(record: RawRecord) -> int:
    """The characters of a row, both texts; so many that memory must bear with them are told."""
    length = len(record.text) + len(record.pair or "")
    if length > LARGE_TEXT_CHARACTERS:
        print_line(
            f"note: {record.where}: one text of {length:,} letters, which memory must hold several "
            "times over (docs/data.md)",
            to_stderr=True,
        )
    return length
