"""The rows of a source as a task needs them: cleaned, labelled and split, in any amount.

The source is read twice or more: once to decide what becomes of each row (`Corpus.survey_rows`),
then for each use of the texts (`Corpus.iter_rows`). No text is held in memory, only numbers: during
the survey a byte for each row of the source, 4 for its label or 8 for its value, 8 for each row
that may repeat a held-out one, some 3 while train is split, and for duplicates what
`cleaning.DigestSet` says. A finished survey is a memory map.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from src.core.dataset_info import Task
from src.core.printing import print_line
from src.core.user_errors import UserError
from src.data.cleaning import DROP_REASONS, Cleaning, DigestSet, hash_text
from src.data.corpus_survey import TRAIN_CODE, UNUSED_ROW, CorpusSurvey, count_labels
from src.data.label_map import LabelMap
from src.data.labels import as_label_set, require_single_label
from src.data.masking import permute_rows
from src.data.reading_remarks import RemarkCounts
from src.data.records import DataSource, RawRecord
from src.data.regression_targets import parse_regression_target
from src.data.row_targets import (
    build_label_space,
    build_targets,
    describe_targets,
    make_target_getter,
)
from src.data.splitting import SPLITS, Split
from src.data.tag_schemes import TagScheme, TagSurvey
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
        tags = TagSurvey(self.label_names) if self.task == "token_classification" else None
        parts: dict[str, _SurveyedSplit] = {}
        # held-out splits come first, since train leaves out what they hold
        for split in reversed([known_split for known_split in SPLITS if known_split in available]):
            parts[split] = self._survey_split(
                split, counts, remarks, held_out, tags, repeats=bool(missing_splits)
            )
        for split in parts:
            if not parts[split].places.any():
                raise UserError(_empty_split_message(split, counts))
        train = parts["train"]
        space = build_label_space(
            self.task,
            train.labels,
            train.codes,
            self.label_names,
            self.label_values,
            self.label_map,
        )
        scheme = None if tags is None else tags.finish()
        targets = {
            split: build_targets(self.task, split, part.places, part.labels, part.codes, space)
            for split, part in parts.items()
        }
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
        named = space or scheme
        summary = {
            "label_names": list(named.names) if named else [],
            "counts": dict(counts),
            "rows": rows,
            "labels": labels,
            "remarks": [
                *remarks.describe(),
                *self._describe_targets(places, targets, labels, missing_splits, counts),
                *(tags.describe(scheme) if tags is not None and scheme is not None else ()),
            ],
            "letters": sum(part.characters for part in parts.values()),
            "pairs": any(part.has_pairs for part in parts.values()),
        }
        if scheme is not None:
            summary["tags"] = {"types": list(scheme.types), "scheme": scheme.name}
        has_targets = self.task not in ("masked_lm", "token_classification")
        return CorpusSurvey(summary, places, targets if has_targets else {})

    def _describe_targets(
        self,
        places: dict[str, np.ndarray],
        targets: dict[str, np.ndarray],
        labels: dict[str, dict[str, int]],
        missing_splits: Sequence[str],
        counts: Counter[str],
    ) -> list[str]:
        """What should be known of the labels of train, and of how they are divided."""
        if self.task in ("masked_lm", "token_classification"):
            return []
        rows = targets["train"][places["train"] == TRAIN_CODE]
        remarks = describe_targets(self.task, rows, labels.get("train", {}), self.label_map)
        if self.task == "multi_label":
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
        tags: TagSurvey | None,
        *,
        repeats: bool,
    ) -> _SurveyedSplit:
        """Read and clean one split of the source.

        Args:
            held_out: hashes of held-out rows: added to by their splits, avoided by train.
            tags: where words have labels, gathers these.
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
            if tags is not None:
                tags.add(split, record)
            elif self.task == "regression":
                number = require_single_label(record.label, record.where)
                codes.append(parse_regression_target(number, record.where))
            elif self.task != "masked_lm":
                label = (
                    as_label_set(record.label, record.where)
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

        labelled = self.task != "masked_lm"
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
            scheme = self._find_tag_scheme(survey)
            get_target = make_target_getter(survey.targets.get(source_split))
            for number, record in enumerate(self.source.read_records(source_split)):
                if number >= len(codes):
                    raise UserError(
                        f"{record.where}: the data grew while they were read; run again"
                    )
                if codes[number] in split_by_code:
                    record = self.cleaning.normalize_record(record)
                    if scheme is not None:
                        words, tags = scheme.read_record(record, self.label_names)
                        row = TextRow(record.text, None, tags, number, words)
                    else:
                        row = TextRow(record.text, record.pair, get_target(number), number)
                    yield split_by_code[codes[number]], row

    def _find_tag_scheme(self, survey: CorpusSurvey) -> TagScheme | None:
        summary = survey.data_summary
        if self.task != "token_classification":
            return None
        found = summary["tags"]
        return TagScheme(tuple(summary["label_names"]), tuple(found["types"]), found["scheme"])

    def iter_train_texts(self, survey: CorpusSurvey) -> Iterator[str]:
        """Iterate over all texts of train, including the second ones of pairs."""
        for _, row in self.iter_rows(survey, ("train",)):
            yield row.text
            if row.pair is not None:
                yield row.pair


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
