"""The one LightningDataModule: source, cleaning, split, tokenizer and batching, and what came of them."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from src.data.batching import Batching, BatchSource, Labelled, Masked, Plan
from src.data.cache import Cache
from src.data.cleaning import Cleaning
from src.data.formats import Record
from src.data.generated import Generated
from src.data.labels import LabelSpace, value
from src.data.masking import order
from src.data.sources import Source
from src.data.splitting import Split
from src.data.store import Row, TokenStore, write
from src.data.tokenizer import TextTokenizer, Tokenizer
from src.terms.bounds import Annotated, Bound, Count, Whole, checked
from src.terms.facts import Facts
from src.terms.fault import Fault

Task = Literal["masked_lm", "classification", "regression"]
SPLITS = ("train", "validation", "test")
VERSION = 2  # of what lies in the cache; raise it when the same inputs would give other content


@checked
class TextDataModule(LightningDataModule):
    """Text from a source to batches on the way to a model.

    Nothing is read here; `prepare_data` reads, cleans, splits and tokenises once for each content, into a cache.

    Args:
        task: what the rows are for; `classification` and `regression` need labels.
        label_names: of class labels, in the order of their indices; null takes what the training rows have.
        num_labels: how many; verified against the data. Models read it from here.
        label_values: how the files write each label, where neither by name nor as 0, 1, ...
        train_rows: take only so many training rows, drawn by the split's seed, evenly from the classes; null: all.
        cache: folder of tokenised text and learnt vocabularies; safe to delete.
        seed: of order and masking.
        num_workers: processes that make batches; 0 is fastest where a batch costs less than a step.
    """

    def __init__(
        self,
        *,
        task: Task,
        source: Source | Generated,
        cleaning: Cleaning,
        split: Split,
        tokenizer: Tokenizer,
        batching: Batching,
        label_names: list[str] | None = None,
        num_labels: Annotated[int, Bound(least=2)] | None = None,
        label_values: list[str | int] | None = None,
        train_rows: Count | None = None,
        cache: str,
        seed: int = 0,
        num_workers: Whole = 0,
    ) -> None:
        super().__init__()
        if isinstance(batching, Masked) != (task == "masked_lm"):
            raise Fault(
                f"data.task={task} does not go with data.batching={type(batching).__name__}; "
                f"data/batching={'masked' if task == 'masked_lm' else 'labelled'} does"
            )
        if label_names is not None and num_labels is not None and len(label_names) != num_labels:
            raise Fault(
                f"data.num_labels={num_labels}, but data.label_names has {len(label_names)}: {', '.join(label_names)}"
            )
        self.task = task
        self.source = source
        self.cleaning = cleaning
        self.split = split
        self.tokenizer_choice = tokenizer
        self.batching = batching
        self.label_names = label_names
        self.num_labels = num_labels
        self.label_values = label_values
        self.train_rows = train_rows
        self.cache = Cache(cache)
        self.seed = seed
        self.num_workers = num_workers
        self.tokenizer: TextTokenizer
        self.facts: Facts
        self.about: dict[str, Any] = {}
        self.stores: dict[str, TokenStore] = {}

    # -- reading ------------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Read, clean, split and tokenise, or find it all in the cache; idempotent."""
        if self.stores:
            return
        corpus = self._fingerprint()  # of everything that shapes the rows
        rows: dict[str, list[Row]] = {}

        def texts() -> Iterator[str]:
            rows.update(rows or self._rows())
            for row in rows["train"]:
                yield row.text
                if row.pair is not None:
                    yield row.pair

        self.tokenizer = self.tokenizer_choice.load(texts, corpus, self.cache)
        key = _sha256([corpus, self.tokenizer.fingerprint, self.batching.cut_tokens, self._truncation])
        folder = self.cache.folder("tokens", key, lambda place: self._write(place, rows or self._rows()))
        self.about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        self.stores = {split: TokenStore.open(folder / split) for split in SPLITS if (folder / split).is_dir()}
        self.facts = self._facts()

    @property
    def _truncation(self) -> Literal["head", "tail", "head_tail"]:
        return self.batching.truncation if isinstance(self.batching, Labelled) else "head"

    def _fingerprint(self) -> str:
        parts = {split: self.source.fingerprint(split) for split in self.source.splits()}
        settings = [self.task, self.cleaning.fingerprint(), repr(self.split), self.label_names, self.label_values]
        return _sha256([VERSION, parts, settings, self.train_rows])

    def _rows(self) -> dict[str, list[Row]]:
        """Cleaned, labelled and divided rows of each split; what was dropped is counted in `about`."""
        counts: Counter[str] = Counter()
        labelled = self.task != "masked_lm"
        found = self.source.splits()
        if "train" not in found:
            raise Fault(f"the source has no training split, only {', '.join(found)} (data.source.train)")
        records: dict[str, list[tuple[int, Record]]] = {}
        held_out: set[bytes] = set()
        for split in reversed([each for each in SPLITS if each in found]):  # held-out ones first: train yields to them
            records[split] = self._clean(split, counts, labelled, held_out)
            if split != "train" and self.cleaning.overlap == "drop":
                held_out |= self.cleaning.digests(record for _, record in records[split])
        space = self._label_space(records["train"])
        rows = {split: [self._row(number, record, space) for number, record in records[split]] for split in records}
        rows = self._divide(rows, found, counts)
        if self.train_rows is not None:
            rows["train"] = self._few(rows["train"], self.train_rows)
        for split, each in rows.items():
            if not each:
                raise Fault(f"no rows are left for {split} (data.split, data.cleaning; counts: {dict(counts)})")
        self.about = {
            "label_names": list(space.names) if space else [],
            "counts": dict(counts),
            "rows": {split: len(each) for split, each in rows.items()},
            "labels": self._label_counts(rows, space),
            "digests": {split: _digest(each, space) for split, each in rows.items()},
        }
        return rows

    def _clean(
        self, split: str, counts: Counter[str], labelled: bool, held_out: set[bytes]
    ) -> list[tuple[int, Record]]:
        """Cleaned records with their place in the source."""
        numbers: list[int] = []

        def numbered() -> Iterator[Record]:
            for number, record in enumerate(self.source.read(split)):
                numbers[:] = [number]  # the record under way: cleaning yields it before it asks for the next
                yield record

        forbidden = held_out if split == "train" else None
        kept = self.cleaning.clean(numbered(), split=split, labelled=labelled, counts=counts, forbidden=forbidden)
        return [(numbers[0], record) for record in kept]

    def _label_space(self, train: Iterable[tuple[int, Record]]) -> LabelSpace | None:
        if self.task != "classification":
            return None
        if self.label_names is not None:
            return LabelSpace.declared(self.label_names, self.label_values)
        space = LabelSpace.discovered(record.label for _, record in train)
        self._verify(space.names)  # before any time is spent on tokens
        return space

    def _row(self, number: int, record: Record, space: LabelSpace | None) -> Row:
        if space is not None:
            target: int | float = space.index(record.label, record.where)
        else:
            target = value(record.label, record.where) if self.task == "regression" else 0
        return Row(record.text, record.pair, target, number)

    def _divide(self, rows: dict[str, list[Row]], found: Sequence[str], counts: Counter[str]) -> dict[str, list[Row]]:
        """Validation and test taken out of train, where the source has none; what repeats them leaves train."""
        train = rows["train"]
        classes = np.array([row.target for row in train], dtype=np.int64) if self.task == "classification" else None
        parts = self.split.divide(len(train), classes, validation="validation" not in found, test="test" not in found)
        made = {split: [train[place] for place in places] for split, places in parts.items()}
        if self.cleaning.overlap == "drop":
            held_out = {(row.text, row.pair) for split, each in made.items() if split != "train" for row in each}
            kept = [row for row in made["train"] if (row.text, row.pair) not in held_out]
            if dropped := len(made["train"]) - len(kept):
                counts.update({"train/overlap": dropped, "train/kept": -dropped})
            made["train"] = kept
        return {**rows, **made}

    def _few(self, rows: list[Row], count: int) -> list[Row]:
        """So many rows, as evenly from each class as they come, in their own order; fewer are among more."""
        seen: Counter[float] = Counter()
        turns = []
        for place in order(self.split.seed, 0, len(rows)).tolist():
            label = rows[place].target if self.task == "classification" else 0
            turns.append((seen[label], place))
            seen[label] += 1
        turns.sort(key=lambda turn: turn[0])
        return [rows[place] for place in sorted(place for _, place in turns[:count])]

    @staticmethod
    def _label_counts(rows: dict[str, list[Row]], space: LabelSpace | None) -> dict[str, dict[str, int]]:
        if space is None:
            return {}
        counted = {split: Counter(space.names[int(row.target)] for row in each) for split, each in rows.items()}
        return {split: {name: counts[name] for name in space.names} for split, counts in counted.items()}

    def _write(self, folder: Path, rows: dict[str, list[Row]]) -> None:
        for split, each in rows.items():
            write(
                folder / split,
                each,
                self.tokenizer,
                max_tokens=self.batching.cut_tokens,
                truncation=self._truncation,
                title=split,
            )
        (folder / "about.json").write_text(json.dumps(self.about, ensure_ascii=False), encoding="utf-8")

    # -- what the model and the record must know ------------------------------------------------------------------

    def _facts(self) -> Facts:
        names = tuple(self.about["label_names"])
        self._verify(names)
        return Facts(
            vocab_size=self.tokenizer.vocab_size,
            pad_id=self.tokenizer.pad_id,
            mask_id=self.tokenizer.mask_id,
            special_ids=self.tokenizer.special_ids,
            max_tokens=self.batching.max_tokens,
            label_names=names,
            batches_per_epoch=len(self._plan("train")),
            some_tokens=self.tokenizer.some_tokens(),
            unigram_entropy=self._unigram_entropy() if self.task == "masked_lm" else None,
        )

    def _verify(self, names: Sequence[str]) -> None:
        if self.num_labels is not None and self.num_labels != len(names):
            raise Fault(f"data.num_labels={self.num_labels}, but the data have {len(names)} labels: {', '.join(names)}")

    def _unigram_entropy(self) -> float:
        """Of the training tokens without special ones, in nats: the loss of a model that knows frequencies alone."""
        counts = np.zeros(self.tokenizer.vocab_size, dtype=np.int64)
        ids = self.stores["train"].ids
        for begin in range(0, len(ids), 1 << 24):
            counts += np.bincount(ids[begin : begin + (1 << 24)], minlength=len(counts))
        counts[list(self.tokenizer.special_ids)] = 0
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())

    def describe(self) -> dict[str, dict[str, Any]]:
        """For each split: its name, a digest of its rows as they are after cleaning and division (whatever becomes of
        them later), how many, and a profile: tokens, texts cut to length, labels."""
        return {
            split: {
                "name": f"{self.source.name}-{split}",
                "digest": self.about["digests"][split][:16],
                "rows": len(store),
                "profile": {"tokens": store.tokens, "cut": store.cut, "labels": self.about["labels"].get(split, {})},
            }
            for split, store in self.stores.items()
        }

    def reading(self) -> dict[str, Any]:
        """How texts became tokens, in plain values: what a prediction must repeat."""
        return {
            "task": self.task,
            "label_names": self.about["label_names"],
            "cleaning": asdict(self.cleaning),
            "max_tokens": self.batching.max_tokens,
            "truncation": self._truncation,
        }

    # -- batches --------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        self.prepare_data()

    def _plan(self, split: str) -> Plan:
        training = split == "train"
        size = self.batching.batch_size if training else self.batching.eval_batch_size
        return Plan(self.batching.rows(self.stores[split]), size, seed=self.seed, training=training)

    def _loader(self, split: str) -> DataLoader[Any]:
        source = BatchSource(
            self.stores[split], self.batching, self.tokenizer, seed=self.seed, training=split == "train"
        )
        return DataLoader(
            source,  # type: ignore[arg-type]
            sampler=self._plan(split),
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        return self._loader("validation") if "validation" in self.stores else []

    def test_dataloader(self) -> DataLoader[Any] | list[Any]:
        return self._loader("test") if "test" in self.stores else []


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _digest(rows: Iterable[Row], space: LabelSpace | None) -> str:
    """Of texts, pairs and targets, in their order, and of what the classes are called."""
    digest = hashlib.sha256(json.dumps(space and space.names).encode())
    for row in rows:
        digest.update(json.dumps([row.text, row.pair, row.target]).encode())
    return digest.hexdigest()
