"""The rows of a source as a task needs them: cleaned, labelled and split, in any amount.

The source is read twice or more: once to decide what becomes of each row (`Corpus.survey_rows`),
then for each use of the texts (`Corpus.iter_rows`). No text is held in memory, only numbers: during
the survey a byte for each row of the source, 4 for its label or 8 for its value, 8 for each row
that may repeat a held-out one, some 3 while train is split, and for duplicates what
`cleaning.DigestSet` says. A finished survey is a memory map.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from src.core.dataset_info import TEXT_TASKS, Task
from src.core.user_errors import UserError
from src.data.preparation.cleaning import DROP_REASONS, Cleaning
from src.data.preparation.corpus_survey import TRAIN_CODE, UNUSED_ROW, CorpusSurvey, count_labels
from src.data.preparation.division import DivisionColumn, describe_division
from src.data.preparation.label_map import LabelMap
from src.data.preparation.repeated_rows import (
    count_leakage,
    drop_held_out_groups,
    drop_near_duplicates,
)
from src.data.preparation.row_targets import (
    build_label_space,
    build_targets,
    describe_targets,
    make_target_getter,
)
from src.data.preparation.split_survey import SplitSurveyor, SurveyedSplit
from src.data.preparation.splitting import SPLITS, Split
from src.data.preparation.train_subset import choose_rows_evenly, choose_share
from src.data.rows.records import DataSource, RawRecord
from src.data.rows.tag_schemes import TagScheme, TagSurvey
from src.data.tokenization.token_store import TextRow

# Rows that are compared at a time; their memory does not matter.
_BLOCK_ROWS = 1 << 16


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
    train_share: float | None = None

    def survey_rows(self) -> CorpusSurvey:
        """Read everything once and decide what becomes of each row.

        Raises:
            UserError: a row cannot be used and must not be dropped, or a split has no rows left.
        """
        available = self.source.available_splits()
        if "train" not in available:
            raise UserError(
                f"the source has no training split, only {', '.join(available)} (data.source.train)"
            )
        missing_splits = [split for split in SPLITS if split not in available]
        surveyor = self._make_surveyor(takes_splits=bool(missing_splits))
        counts, tags, division = surveyor.counts, surveyor.tags, surveyor.division
        # held-out splits come first, since train leaves out what they hold
        order = reversed([split for split in SPLITS if split in available])
        parts = {split: surveyor.survey_split(split) for split in order}
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
        near_leakage = (
            drop_near_duplicates(parts, surveyor.signatures, self.cleaning, counts)
            if self.cleaning.near_duplicates is not None
            else {}
        )
        if self.split.group is not None:
            drop_held_out_groups(parts, counts)
        kept = parts["train"].places > 0
        for split, codes in places.items():
            codes *= 1 + SPLITS.index(split)
        self._hold_out_splits(parts["train"], targets["train"], missing_splits, counts)
        divided = (
            list(describe_division(division, parts["train"].column_values, places["train"][kept]))
            if division is not None
            else []
        )
        self._limit_train_rows(places["train"], targets["train"])
        rows = _count_rows(places, available, counts)
        keeps_overlap = self.cleaning.overlap == "keep"
        leakage = count_leakage(parts, kept, rows) if keeps_overlap else {}
        labels = count_labels(places, targets, space, rows) if space else {}
        named = space or scheme
        summary = {
            "label_names": list(named.names) if named else [],
            "counts": dict(counts),
            "rows": rows,
            "leakage": {"exact": leakage, "near": near_leakage},
            "labels": labels,
            "remarks": [
                *surveyor.remarks.describe(),
                *self._describe_targets(places, targets, labels, missing_splits, counts),
                *divided,
                *(tags.describe(scheme) if tags is not None and scheme is not None else ()),
            ],
            "letters": sum(part.characters for part in parts.values()),
            "pairs": any(part.has_pairs for part in parts.values()),
        }
        if scheme is not None:
            summary["tags"] = {"types": list(scheme.types), "scheme": scheme.name}
        has_targets = self.task not in (*TEXT_TASKS, "token_classification")
        return CorpusSurvey(summary, places, targets if has_targets else {})

    def _make_surveyor(self, *, takes_splits: bool) -> SplitSurveyor:
        return SplitSurveyor(
            task=self.task,
            source=self.source,
            cleaning=self.cleaning,
            label_map=self.label_map,
            takes_splits=takes_splits,
            division=DivisionColumn.build(self.split),
            tags=TagSurvey(self.label_names) if self.task == "token_classification" else None,
        )

    def _describe_targets(
        self,
        places: dict[str, np.ndarray],
        targets: dict[str, np.ndarray],
        labels: dict[str, dict[str, int]],
        missing_splits: Sequence[str],
        counts: Counter[str],
    ) -> list[str]:
        """What should be known of the labels of train, and of how they are divided."""
        if self.task in (*TEXT_TASKS, "token_classification"):
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
            if taken and self.split.stratify and self.split.find_column() is None:
                remarks.append(
                    f"{' and '.join(taken)} are rows of train drawn at random: rows with several "
                    "labels are not divided by class (data.split.stratify)"
                )
        return remarks

    def _hold_out_splits(
        self,
        train: SurveyedSplit,
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
            column_values=train.column_values if len(train.column_values) else None,
        )
        parts += TRAIN_CODE
        heeded = self.cleaning.overlap == "drop" and len(train.digests) > 0
        if heeded and (parts != TRAIN_CODE).any():
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

    def _limit_train_rows(self, places: np.ndarray, targets: np.ndarray) -> None:
        """Keep as many training rows as `train_rows` or `train_share` say."""
        rows = np.flatnonzero(places == TRAIN_CODE)
        classes = targets[rows] if self.task == "classification" else None
        subset = {"size": len(rows), "seed": self.split.seed}
        if self.train_rows is not None:
            chosen = choose_rows_evenly(classes, self.train_rows, **subset)
        elif self.train_share is not None:
            chosen = choose_share(classes, self.train_share, **subset)
        else:
            return
        places[rows] = UNUSED_ROW
        places[rows[chosen]] = TRAIN_CODE

    def iter_rows(
        self, survey: CorpusSurvey, splits: Sequence[str] = SPLITS
    ) -> Iterator[tuple[str, TextRow]]:
        """Iterate over the rows of our splits in the order of the source, with their splits' names.

        Raises:
            UserError: the source has grown since the survey.
        """
        scheme = self._find_tag_scheme(survey)
        getters = {name: make_target_getter(survey.targets.get(name)) for name in survey.places}
        for split, source_split, number, raw_record in self.iter_raw_rows(survey, splits):
            record = self.cleaning.normalize_record(raw_record)
            if scheme is None:
                target = getters[source_split](number)
                yield split, TextRow(record.text, record.pair, target, number)
            else:
                words, tags = scheme.read_record(record, self.label_names)
                yield split, TextRow(record.text, None, tags, number, words)

    def _find_tag_scheme(self, survey: CorpusSurvey) -> TagScheme | None:
        summary = survey.data_summary
        if self.task != "token_classification":
            return None
        found = summary["tags"]
        return TagScheme(tuple(summary["label_names"]), tuple(found["types"]), found["scheme"])

    def iter_raw_rows(
        self, survey: CorpusSurvey, splits: Sequence[str] = SPLITS
    ) -> Iterator[tuple[str, str, int, RawRecord]]:
        """Iterate over the rows of our splits as the source has them, each with the names of its
        split and of the source's split, and its number in that.

        Raises:
            UserError: the source has grown since the survey.
        """
        split_by_code = {1 + SPLITS.index(split): split for split in splits}
        for source_split, places in survey.places.items():
            if not any((places == code).any() for code in split_by_code):
                continue
            # a memory view gives single numbers faster than an array does
            codes = places.data
            for number, record in enumerate(self.source.read_records(source_split)):
                if number >= len(codes):
                    raise UserError(
                        f"{record.where}: the data grew while they were read; run again"
                    )
                if codes[number] in split_by_code:
                    yield split_by_code[codes[number]], source_split, number, record

    def iter_train_texts(self, survey: CorpusSurvey) -> Iterator[str]:
        """Iterate over all texts of train, including the second ones of pairs."""
        for _, row in self.iter_rows(survey, ("train",)):
            yield row.text
            if row.pair is not None:
                yield row.pair


def _count_rows(
    places: dict[str, np.ndarray], available: Sequence[str], counts: Counter[str]
) -> dict[str, int]:
    """The rows of each of our splits. Raises UserError if one that the source has is empty.

    Args:
        places: by split of the source, the code of the split that each row belongs to.
        available: the splits of the source.
        counts: what became of the rows, for the message.
    """
    rows = {
        split: sum(int((codes == code).sum()) for codes in places.values())
        for code, split in enumerate(SPLITS, 1)
    }
    for split, count in rows.items():
        if split in available and not count:
            raise UserError(
                f"no rows are left for {split} (data.split, data.cleaning; counts: {dict(counts)})"
            )
    return {split: count for split, count in rows.items() if count}


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
