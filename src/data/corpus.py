"""The rows of a source as a task wants them: cleaned, labelled and divided, in any amount.

The source is read twice or more: once to decide what becomes of each row (`Corpus.survey`), then for each use of the
texts (`Corpus.rows`). So no text is held in memory, only numbers: while rows are surveyed a byte for each row of the
source, 4 for its label or 8 for its value, 8 for each row that may repeat a held-out one, some 3 while train is
divided, and what `digests.py` says for duplicates. Of a survey that is done, nothing: it lies in a memory map.
"""

import json
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from tqdm import tqdm

from src.data.cleaning import Cleaning
from src.data.digests import Digests, digest
from src.data.formats import Record
from src.data.generated import Generated
from src.data.labels import Label, LabelSpace, value
from src.data.masking import order
from src.data.sources import Source
from src.data.splitting import SPLITS, Split
from src.data.store import Row
from src.terms.fault import Fault

Task = Literal["masked_lm", "classification", "regression"]
LEFT_OUT = 0  # in `Survey.places`; a row that is used has 1 + its split's place in SPLITS
TRAIN = 1 + SPLITS.index("train")
LARGE_TEXT = 1 << 24  # letters; a longer one is told of: it decides how much memory is needed
_BLOCK = 1 << 16  # rows: what is held of them at once is no matter


@dataclass(frozen=True)
class Survey:
    """What becomes of every row.

    `about` holds plain values: `label_names`, `counts` of rows read, kept and dropped, and by split `rows`, `labels`,
    `letters`. By split of the source, over all its rows: `places` (uint8) says which of our splits has the row,
    `targets` (int64 classes or float64 values) what it is to be taken for; there are none without labels.
    """

    about: dict[str, Any]
    places: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]

    def save(self, folder: Path) -> None:
        for kind in ("places", "targets"):
            for split, each in getattr(self, kind).items():
                np.save(folder / f"{split}_{kind}.npy", each)
        (folder / "about.json").write_text(json.dumps(self.about, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Self:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        found = {
            kind: {
                split: np.load(file, mmap_mode="r")
                for split in SPLITS
                if (file := folder / f"{split}_{kind}.npy").is_file()
            }
            for kind in ("places", "targets")
        }
        return cls(about, found["places"], found["targets"])


class _Part(NamedTuple):
    """A split of the source while it is surveyed."""

    places: np.ndarray  # of each row: 1 where cleaning kept it, else 0
    labels: dict[Label, str]  # each class label that occurs, in the order of first rows, and where that row stands
    codes: np.ndarray  # of each row that was kept: its label's place in `labels`, or its value; empty without labels
    digests: np.ndarray  # of each row that was kept, where these are wanted, else empty
    letters: int


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A source, and what is to be made of it; the arguments are those of `TextDataModule`."""

    task: Task
    source: Source | Generated
    cleaning: Cleaning
    split: Split
    label_names: list[str] | None = None
    label_values: list[str | int] | None = None
    train_rows: int | None = None

    # -- what becomes of each row ---------------------------------------------------------------------------------

    def survey(self) -> Survey:
        """Read everything once. Raises Fault where a row cannot be used and must not be left out, or none is left."""
        counts: Counter[str] = Counter()
        found = self.source.splits()
        if "train" not in found:
            raise Fault(f"the source has no training split, only {', '.join(found)} (data.source.train)")
        made = [split for split in SPLITS if split not in found]
        held_out = Digests()
        parts: dict[str, _Part] = {}
        for split in reversed([each for each in SPLITS if each in found]):  # held-out ones first: train yields to them
            parts[split] = self._read(split, counts, held_out, repeats=bool(made))
        for split in parts:
            if not parts[split].places.any():
                raise Fault(_nothing_left(split, counts))
        space = self._label_space(parts["train"])
        targets = {split: self._targets(part, space) for split, part in parts.items()}
        places = {split: part.places for split, part in parts.items()}
        for split, each in places.items():
            each *= 1 + SPLITS.index(split)
        self._divide(parts["train"], targets["train"], made, counts)
        if self.train_rows is not None:
            self._few(places["train"], targets["train"], self.train_rows)
        rows = {
            split: sum(int((each == code).sum()) for each in places.values()) for code, split in enumerate(SPLITS, 1)
        }
        rows = {split: count for split, count in rows.items() if count or split in found}
        for split, count in rows.items():
            if not count:
                raise Fault(f"no rows are left for {split} (data.split, data.cleaning; counts: {dict(counts)})")
        about = {
            "label_names": list(space.names) if space else [],
            "counts": dict(counts),
            "rows": rows,
            "labels": _label_counts(places, targets, space, rows) if space else {},
            "letters": sum(part.letters for part in parts.values()),
        }
        return Survey(about, places, targets if self.task != "masked_lm" else {})

    def _read(self, split: str, counts: Counter[str], held_out: Digests, *, repeats: bool) -> _Part:
        """What cleaning keeps. `held_out` grows by held-out rows; train leaves out what is in it.

        Args:
            repeats: whether training rows may turn out to repeat a row that will be held out.
        """
        training, heeded = split == "train", self.cleaning.overlap == "drop"
        places, digests = bytearray(), array("Q")
        labels: dict[Label, str] = {}
        numbers: dict[Label, int] = {}
        codes: array[Any] = array("d" if self.task == "regression" else "i")
        letters = 0
        for number, record in self._cleaned(split, counts, held_out if training and heeded else None):
            places.extend(bytes(number - len(places)) + b"\1")
            length = len(record.text) + len(record.pair or "")
            letters += length
            if length > LARGE_TEXT:
                print(
                    f"note: {record.where}: one text of {length:,} letters, which memory must hold several times over "
                    "(docs/data.md)",
                    file=sys.stderr,
                    flush=True,
                )
            if heeded and not training:
                held_out.add(digest(record.text, record.pair))
            elif heeded and repeats:
                digests.append(digest(record.text, record.pair))
            if self.task == "regression":
                codes.append(value(record.label, record.where))
            elif self.task == "classification":
                labels.setdefault(record.label, record.where)
                codes.append(numbers.setdefault(record.label, len(numbers)))
        places.extend(bytes(counts[f"{split}/read"] - len(places)))
        return _Part(
            np.frombuffer(places, dtype=np.uint8),
            labels,
            np.frombuffer(codes, dtype=codes.typecode),
            np.frombuffer(digests, dtype=np.uint64),
            letters,
        )

    def _cleaned(self, split: str, counts: Counter[str], forbidden: Digests | None) -> Iterator[tuple[int, Record]]:
        """Rows that stay, with their place in the source."""
        latest = -1  # the row under way: cleaning yields it before it asks for the next

        def numbered() -> Iterator[Record]:
            nonlocal latest
            for record in self.source.read(split):
                latest += 1
                yield record

        labelled = self.task != "masked_lm"
        shown = tqdm(numbered(), desc=f"read {split}", unit=" texts", delay=1, disable=None)
        for record in self.cleaning.clean(shown, split=split, labelled=labelled, counts=counts, forbidden=forbidden):
            yield latest, record

    def _label_space(self, train: _Part) -> LabelSpace | None:
        if self.task != "classification":
            return None
        if self.label_names is not None:
            return LabelSpace.declared(self.label_names, self.label_values)
        labels = list(train.labels)
        return LabelSpace.discovered(labels[code] for code in train.codes.tolist())

    def _targets(self, part: _Part, space: LabelSpace | None) -> np.ndarray:
        """Of every row of the source; 0 for those that cleaning left out."""
        codes = part.codes
        if space is not None:
            indices = [space.index(label, where) for label, where in part.labels.items()]
            codes = np.array(indices, dtype=np.int64)[codes]
        if not len(codes):
            return codes
        targets = np.zeros(len(part.places), dtype=codes.dtype)
        targets[part.places > 0] = codes
        return targets

    def _divide(self, train: _Part, targets: np.ndarray, made: Sequence[str], counts: Counter[str]) -> None:
        """Held-out splits taken out of train, where the source has none; what repeats their rows leaves train."""
        kept = train.places > 0
        classes = targets[kept] if self.task == "classification" else None
        parts = self.split.divide(int(kept.sum()), classes, validation="validation" in made, test="test" in made)
        parts += TRAIN
        if len(train.digests) and (parts != TRAIN).any():
            held_out = np.sort(train.digests[parts != TRAIN])
            for begin in range(0, len(parts), _BLOCK):
                block, part = train.digests[begin : begin + _BLOCK], parts[begin : begin + _BLOCK]
                nearest = np.minimum(np.searchsorted(held_out, block), len(held_out) - 1)
                part[(part == TRAIN) & (held_out[nearest] == block)] = LEFT_OUT
            if dropped := int((parts == LEFT_OUT).sum()):
                counts.update({"train/overlap": dropped, "train/kept": -dropped})
        train.places[kept] = parts

    def _few(self, places: np.ndarray, targets: np.ndarray, count: int) -> None:
        """So many training rows, as evenly from each class as they come; fewer are among more."""
        rows = np.flatnonzero(places == TRAIN)
        drawn = rows[order(self.split.seed, 0, len(rows))]
        turns = np.zeros(len(rows), dtype=np.int64)  # how many of its class were drawn before each
        if self.task == "classification":
            for each in np.unique(targets[rows]):
                mine = targets[drawn] == each
                turns[mine] = np.arange(mine.sum())
            drawn = drawn[np.argsort(turns, kind="stable")]
        places[drawn[count:]] = LEFT_OUT

    # -- the texts ------------------------------------------------------------------------------------------------

    def rows(self, survey: Survey, splits: Sequence[str] = SPLITS) -> Iterator[tuple[str, Row]]:
        """The rows of these splits as they stand in the source, each with the name of its split."""
        wanted = {1 + SPLITS.index(split): split for split in splits}
        for source_split, places in survey.places.items():
            if not any((places == code).any() for code in wanted):
                continue
            codes = places.data  # reads single numbers faster than the array
            targets = survey.targets[source_split].data if source_split in survey.targets else None
            for number, record in enumerate(self.source.read(source_split)):
                if number >= len(codes):
                    raise Fault(f"{record.where}: the data grew while they were read; run again")
                if codes[number] in wanted:
                    text, pair, *_ = self.cleaning.tidy(record)
                    yield wanted[codes[number]], Row(text, pair, 0 if targets is None else targets[number], number)

    def texts(self, survey: Survey) -> Iterator[str]:
        """All texts of train, the second ones of pairs too."""
        for _, row in self.rows(survey, ("train",)):
            yield row.text
            if row.pair is not None:
                yield row.pair


_REASONS = {
    "empty_text": "empty (data.source.text)",
    "missing_label": "without a label (data.source.label)",
    "overlap": "also in validation or test (data.cleaning.overlap)",
    "duplicates": "there before (data.cleaning.duplicates)",
    "contradicting_duplicates": "there before with another label (data.cleaning.duplicates)",
}


def _nothing_left(split: str, counts: Counter[str]) -> str:
    """The message for a split of which cleaning leaves no row."""
    reasons = [f"{counts[f'{split}/{each}']} {words}" for each, words in _REASONS.items() if counts[f"{split}/{each}"]]
    return f"no rows are left for {split}: {counts[f'{split}/read']} were read, {', '.join(reasons)}"


def _label_counts(
    places: dict[str, np.ndarray], targets: dict[str, np.ndarray], space: LabelSpace, splits: Iterable[str]
) -> dict[str, dict[str, int]]:
    counts = {}
    for split in splits:
        code = 1 + SPLITS.index(split)
        found = sum(np.bincount(targets[each][places[each] == code], minlength=len(space.names)) for each in places)
        counts[split] = dict(zip(space.names, np.asarray(found).tolist(), strict=True))
    return counts
