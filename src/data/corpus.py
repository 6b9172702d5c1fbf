"""The rows of a source as a task needs them: cleaned, labelled and split, in any amount.

The source is read twice or more: once to decide what becomes of each row (`Corpus.survey_rows`),
then for each use of the texts (`Corpus.iter_rows`). No text is held in memory, only numbers: during
the survey a byte for each row of the source, 4 for its label or 8 for its value, 8 for each row
that may repeat a held-out one, some 3 while train is split, and for duplicates what
`cleaning.DigestSet` says. A finished survey is a memory map.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from src.core.dataset_info import TEXT_TASKS, Task
from src.core.printing import print_line
from src.core.user_errors import UserError
from src.data.cleaning import DROP_REASONS, Cleaning, DigestSet, hash_text
from src.data.corpus_survey import TRAIN_CODE, UNUSED_ROW, CorpusSurvey, count_labels
from src.data.label_map import LabelMap
from src.data.label_sets import build_membership, describe_label_sets
from src.data.labels import (
    LabelSpace,
    as_label_set,
    describe_odd_labels,
    require_single_label,
)
from src.data.reading_remarks import RemarkCounts
from src.data.records import DataSource, RawRecord
from src.data.regression_targets import describe_close_targets, parse_regression_target
from src.data.splitmix import permute_rows
from src.data.splitting import SPLITS, Split
from src.data.token_store import TextRow

# A note is printed for a longer text, since it decides how much memory is needed.
LARGE_TEXT_CHARACTERS = 1 << 24
# Rows that are compared at a time; their memory does not matter.
_BLOCK_ROWS = 1 << 16


class _SurveyedSplit(NamedTuple):
    """A split of the source during the survey.

    Args:
        places: for each row, 1 if cleaning kept it, else 0.
        labels: where the first row with each label stands, or with each set of several labels, in
            the order of those rows.
        codes: for each kept row, its label's index in `labels`, or its value; empty without labels.
        digests: for each kept row its hash, if hashes are needed, else empty.
        characters: of all kept rows, both texts.
        has_pairs: whether any kept row has a second text.
    """

    places: np.ndarray
    labels: dict[Any, str]
    codes: np.ndarray
    digests: np.ndarray
    characters: int
    has_pairs: bool


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A source and what a task makes of it; the arguments are those of `DataConfig`."""

    task: Task
    source: DataSource
    cleaning: Cleaning
    split: Split
    label_names: list[str | float] | None = None
    label_values: list[str | float] | None = None
    label_map: LabelMap | None = None
    train_rows: int | None = None

    def survey_rows(self) -> CorpusSurvey:
        """Read everything once and decide what becomes of each row.

        Raises:
            UserError: a row cannot be used and must not be dropped, or a split has no rows left.
        """
        counts: Counter[str] = Counter()
        remarks = RemarkCounts()
        available = self.source.available_splits()
        if "train" not in available:
            raise UserError(
                f"the source has no training split, only {', '.join(available)} (data.source.train)"
            )
        missing_splits = [split for split in SPLITS if split not in available]
        held_out = DigestSet()
        parts: dict[str, _SurveyedSplit] = {}
        # held-out splits come first, since train leaves out what they hold
        for split in reversed([known_split for known_split in SPLITS if known_split in available]):
            parts[split] = self._survey_split(
                split, counts, remarks, held_out, repeats=bool(missing_splits)
            )
        for split in parts:
            if not parts[split].places.any():
                raise UserError(_empty_split_message(split, counts))
        space = self._build_label_space(parts["train"])
        targets = {split: self._build_targets(split, part, space) for split, part in parts.items()}
        places = {split: part.places for split, part in parts.items()}
        for split, codes in places.items():
            codes *= 1 + SPLITS.index(split)
        self._hold_out_splits(parts["train"], targets["train"], missing_splits, counts)
        if self.train_rows is not None:
            self._limit_train_rows(places["train"], targets["train"], self.train_rows)
        rows = {
            split: sum(int((codes == code).sum()) for codes in places.values())
            for code, split in enumerate(SPLITS, 1)
        }
        rows = {split: count for split, count in rows.items() if count or split in available}
        for split, count in rows.items():
            if not count:
                raise UserError(
                    f"no rows are left for {split} (data.split, data.cleaning; counts: "
                    f"{dict(counts)})"
                )
        labels = count_labels(places, targets, space, rows) if space else {}
        summary = {
            "label_names": list(space.names) if space else [],
            "counts": dict(counts),
            "rows": rows,
            "labels": labels,
            "remarks": [
                *remarks.describe(),
                *self._describe_labels(places, targets, labels, missing_splits, counts),
            ],
            "letters": sum(part.characters for part in parts.values()),
            "pairs": any(part.has_pairs for part in parts.values()),
        }
        return CorpusSurvey(summary, places, targets if self.task not in TEXT_TASKS else {})

    def _describe_labels(
        self,
        places: dict[str, np.ndarray],
        targets: dict[str, np.ndarray],
        labels: dict[str, dict[str, int]],
        missing_splits: Sequence[str],
        counts: Counter[str],
    ) -> list[str]:
        """What should be known of the labels of train, and of how they are divided."""
        if self.task == "regression":
            return describe_close_targets(targets["train"][places["train"] == TRAIN_CODE])
        if not labels:
            return []
        remarks = list(self.label_map.describe()) if self.label_map is not None else []
        remarks += describe_odd_labels(labels["train"])
        if self.task == "multi_label":
            rows = targets["train"][places["train"] == TRAIN_CODE]
            remarks += describe_label_sets(rows.sum(1))
            if any(counts[f"{split}/missing_label"] for split in SPLITS):
                remarks.append(
                    "rows without a label are left out; data.cleaning.missing_label=keep takes "
                    "them for rows that have none of the labels"
                )
            taken = [split for split in missing_splits if split in labels]
            if taken and self.split.stratify:
                remarks.append(
                    f"{' and '.join(taken)} are rows of train drawn at random: rows with several "
                    "labels are not divided by class (data.split.stratify)"
                )
        return remarks

    def _survey_split(
        self,
        split: str,
        counts: Counter[str],
        remarks: RemarkCounts,
        held_out: DigestSet,
        *,
        repeats: bool,
    ) -> _SurveyedSplit:
        """Read and clean one split of the source.

        Args:
            held_out: hashes of held-out rows: added to by their splits, avoided by train.
            repeats: whether rows will be held out of train, so that other training rows may turn
                out to repeat them.
        """
        training, heeded = split == "train", self.cleaning.overlap == "drop"
        places, digests = bytearray(), array("Q")
        labels: dict[Any, str] = {}
        numbers: dict[Any, int] = {}
        codes: array[Any] = array("d" if self.task == "regression" else "i")
        letters, has_pairs = 0, False
        for row, record in self._iter_clean_records(
            split, counts, remarks, held_out if training and heeded else None
        ):
            places.extend(bytes(row - len(places)) + b"\1")
            length = len(record.text) + len(record.pair or "")
            letters += length
            has_pairs |= record.pair is not None
            if length > LARGE_TEXT_CHARACTERS:
                print_line(
                    f"note: {record.where}: one text of {length:,} letters, which memory must "
                    "hold several times over "
                    "(docs/data.md)",
                    to_stderr=True,
                )
            if heeded and not training:
                held_out.add(hash_text(record.text, record.pair))
            elif heeded and repeats:
                digests.append(hash_text(record.text, record.pair))
            if self.task == "regression":
                number = require_single_label(record.label, record.where)
                codes.append(parse_regression_target(number, record.where))
            elif self.task not in TEXT_TASKS:
                label = (
                    as_label_set(record.label)
                    if self.task == "multi_label"
                    else require_single_label(record.label, record.where)
                )
                labels.setdefault(label, record.where)
                codes.append(numbers.setdefault(label, len(numbers)))
        places.extend(bytes(counts[f"{split}/read"] - len(places)))
        return _SurveyedSplit(
            np.frombuffer(places, dtype=np.uint8),
            labels,
            np.frombuffer(codes, dtype=codes.typecode),
            np.frombuffer(digests, dtype=np.uint64),
            letters,
            has_pairs,
        )

    def _iter_clean_records(
        self,
        split: str,
        counts: Counter[str],
        remarks: RemarkCounts,
        forbidden: DigestSet | None,
    ) -> Iterator[tuple[int, RawRecord]]:
        """Iterate over the rows that stay, each with its number in the source."""
        # cleaning yields a row before it asks for the next, so this is the number of that row
        latest = -1

        def numbered() -> Iterator[RawRecord]:
            nonlocal latest
            for record in self.source.read_records(split):
                latest += 1
                remarks.count(split, record)
                yield record

        labelled = self.task not in TEXT_TASKS
        rows_with_progress = tqdm(
            numbered(), desc=f"read {split}", unit=" texts", delay=1, disable=None
        )
        for record in self.cleaning.clean_records(
            rows_with_progress,
            split=split,
            labelled=labelled,
            counts=counts,
            forbidden=forbidden,
            label_map=self.label_map,
        ):
            yield latest, record

    def _build_label_space(self, train: _SurveyedSplit) -> LabelSpace | None:
        if self.task not in ("classification", "multi_label"):
            return None
        if self.label_names is not None:
            return LabelSpace.from_names(self.label_names, self.label_values)
        labels = list(train.labels)
        found = (labels[code] for code in train.codes.tolist())
        if self.task == "multi_label":
            found = (label for label_set in found for label in label_set)
        try:
            return LabelSpace.from_labels(found)
        except UserError as error:
            notes = list(self.label_map.describe()) if self.label_map is not None else []
            raise UserError("; ".join([str(error), *notes])) if notes else error from None

    def _build_targets(
        self, split: str, part: _SurveyedSplit, space: LabelSpace | None
    ) -> np.ndarray:
        """The target of every row of the source; 0 for rows that cleaning dropped."""
        codes = part.codes
        if space is not None and self.task == "multi_label":
            codes = build_membership(part.labels, space, split)[codes]
        elif space is not None:
            indices = space.class_indices(part.labels, split)
            codes = np.array(indices, dtype=np.int64)[codes]
        if not len(codes):
            return codes
        targets = np.zeros((len(part.places), *codes.shape[1:]), dtype=codes.dtype)
        targets[part.places > 0] = codes
        return targets

    def _hold_out_splits(
        self,
        train: _SurveyedSplit,
        targets: np.ndarray,
        splits_to_take: Sequence[str],
        counts: Counter[str],
    ) -> None:
        """Take missing held-out splits out of train, and drop training rows that repeat theirs.

        Args:
            splits_to_take: the splits that the source lacks.
        """
        is_kept = train.places > 0
        classes = targets[is_kept] if self.task == "classification" else None
        parts = self.split.assign_splits(
            int(is_kept.sum()),
            classes,
            validation="validation" in splits_to_take,
            test="test" in splits_to_take,
        )
        parts += TRAIN_CODE
        if len(train.digests) and (parts != TRAIN_CODE).any():
            held_out = np.sort(train.digests[parts != TRAIN_CODE])
            for begin in range(0, len(parts), _BLOCK_ROWS):
                block, part = (
                    train.digests[begin : begin + _BLOCK_ROWS],
                    parts[begin : begin + _BLOCK_ROWS],
                )
                nearest = np.minimum(np.searchsorted(held_out, block), len(held_out) - 1)
                part[(part == TRAIN_CODE) & (held_out[nearest] == block)] = UNUSED_ROW
            if dropped := int((parts == UNUSED_ROW).sum()):
                counts.update({"train/overlap": dropped, "train/kept": -dropped})
        train.places[is_kept] = parts

    def _limit_train_rows(self, places: np.ndarray, targets: np.ndarray, count: int) -> None:
        """Keep `count` training rows, as evenly from all classes as possible.

        A smaller number always keeps a subset of what a larger one keeps.
        """
        rows = np.flatnonzero(places == TRAIN_CODE)
        drawn = rows[permute_rows(self.split.seed, 0, len(rows))]
        # how many rows of the same class were drawn before each row
        turns = np.zeros(len(rows), dtype=np.int64)
        if self.task == "classification":
            for class_index in np.unique(targets[rows]):
                mine = targets[drawn] == class_index
                turns[mine] = np.arange(mine.sum())
            drawn = drawn[np.argsort(turns, kind="stable")]
        places[drawn[count:]] = UNUSED_ROW

    def iter_rows(
        self, survey: CorpusSurvey, splits: Sequence[str] = SPLITS
    ) -> Iterator[tuple[str, TextRow]]:
        """Iterate over the rows of our splits in the order of the source, with their splits' names.

        Raises:
            UserError: the source has grown since the survey.
        """
        split_by_code = {1 + SPLITS.index(split): split for split in splits}
        for source_split, places in survey.places.items():
            if not any((places == code).any() for code in split_by_code):
                continue
            # a memory view gives single numbers faster than an array does
            codes = places.data
            get_target = _target_getter(survey.targets.get(source_split))
            for number, record in enumerate(self.source.read_records(source_split)):
                if number >= len(codes):
                    raise UserError(
                        f"{record.where}: the data grew while they were read; run again"
                    )
                if codes[number] in split_by_code:
                    text, pair, *_ = self.cleaning.normalize_record(record)
                    yield (
                        split_by_code[codes[number]],
                        TextRow(text, pair, get_target(number), number),
                    )

    def iter_train_texts(self, survey: CorpusSurvey) -> Iterator[str]:
        """Iterate over all texts of train, including the second ones of pairs."""
        for _, row in self.iter_rows(survey, ("train",)):
            yield row.text
            if row.pair is not None:
                yield row.pair


def _target_getter(targets: np.ndarray | None) -> Callable[[int], Any]:
    """What gives the target of a row by its number: a number, or a tuple where there are several;
    0 without targets.
    """
    if targets is None:
        return lambda number: 0
    if targets.ndim == 2:
        return lambda number: tuple(targets[number].tolist())
    return targets.data.__getitem__


def _empty_split_message(split: str, counts: Counter[str]) -> str:
    """The message for a split that has no rows left after cleaning."""
    reasons = [
        f"{counts[f'{split}/{reason}']} {words}"
        for reason, words in DROP_REASONS.items()
        if counts[f"{split}/{reason}"]
    ]
    hint = f"; data.source.{split}=null leaves {split} out" if split != "train" else ""
    return (
        f"no rows are left for {split}: {counts[f'{split}/read']} were read, "
        f"{', '.join(reasons)}{hint}"
    )
