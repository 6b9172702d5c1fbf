"""The one LightningDataModule: source, cleaning, split, tokenizer and batching, and what came of them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningDataModule

from src.data.batching import Batching, Labelled, Masked
from src.data.cache import Cache
from src.data.cleaning import Cleaning
from src.data.corpus import Corpus, Survey, Task
from src.data.feeding import Ahead, BatchSource, Loader
from src.data.generated import Generated
from src.data.on_device import DeviceSource, wanted
from src.data.plan import Plan
from src.data.sources import Source
from src.data.splitting import SPLITS, Split
from src.data.store import Row, TokenStore
from src.data.tokenising import Size, tokenise
from src.data.tokenizer import TextTokenizer, Tokenizer
from src.terms.bounds import Annotated, Bound, Count, Whole, checked
from src.terms.facts import Facts
from src.terms.fault import Fault

_LONG = 1 << 20  # letters
VERSION = 4  # of what lies in the cache; raise it when the same inputs would give other content


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
        on_device: keep the corpus of masked language modelling on the GPU, where rows are gathered and masked without
            the host; the batches are the same. Null: where it takes a tenth of the GPU's free memory at most.
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
        on_device: bool | None = None,
    ) -> None:
        super().__init__()
        if isinstance(batching, Masked) != (task == "masked_lm"):
            raise Fault(
                f"data.task={task} does not go with data.batching={type(batching).__name__}; "
                f"data/batching={'masked' if task == 'masked_lm' else 'labelled'} does"
            )
        if on_device and task != "masked_lm":
            raise Fault(f"data.on_device=true goes with data.task=masked_lm, found data.task={task}")
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
        self.on_device = on_device
        self.rank, self.world = 0, 1
        self.tokenizer: TextTokenizer
        self.facts: Facts
        self.about: dict[str, Any] = {}
        self.stores: dict[str, TokenStore] = {}

    # -- reading ------------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Read, clean, split and tokenise, or find it all in the cache; idempotent."""
        if self.stores:
            return
        corpus = Corpus(
            task=self.task,
            source=self.source,
            cleaning=self.cleaning,
            split=self.split,
            label_names=self.label_names,
            label_values=self.label_values,
            train_rows=self.train_rows,
        )
        rows = self._fingerprint()  # of everything that shapes the rows
        survey = Survey.open(self.cache.folder("rows", rows, lambda place: self._survey(place, corpus)))
        self.tokenizer = self.tokenizer_choice.load(lambda: corpus.texts(survey), rows, self.cache)
        key = _sha256([rows, self.tokenizer.fingerprint, self.batching.cut_tokens, self._truncation])
        folder = self.cache.folder("tokens", key, lambda place: self._write(place, corpus, survey), resumable=True)
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

    def _survey(self, folder: Path, corpus: Corpus) -> None:
        survey = corpus.survey()
        self._verify(survey.about["label_names"])  # before any time is spent on tokens
        survey.save(folder)

    def _write(self, folder: Path, corpus: Corpus, survey: Survey) -> None:
        """Stores, and what is known of them: the survey's facts, a digest of each split's rows, and the entropy."""
        about = survey.about
        digests = {split: hashlib.sha256(json.dumps(about["label_names"] or None).encode()) for split in about["rows"]}

        def digested() -> Iterator[tuple[str, Row]]:
            for split, row in corpus.rows(survey):
                for piece in _spelled(row):
                    digests[split].update(piece.encode())
                yield split, row

        tokenise(
            folder,
            digested(),
            self.tokenizer.encoder,
            vocab_size=self.tokenizer.vocab_size,
            max_tokens=self.batching.cut_tokens,
            truncation=self._truncation,
            valued=self.task == "regression",
            size=Size(sum(about["rows"].values()), about["letters"]),
        )
        entropy = self._unigram_entropy(TokenStore.open(folder / "train")) if self.task == "masked_lm" else None
        facts = {"digests": {split: each.hexdigest() for split, each in digests.items()}, "unigram_entropy": entropy}
        (folder / "about.json").write_text(json.dumps({**about, **facts}, ensure_ascii=False), encoding="utf-8")

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
            unigram_entropy=self.about["unigram_entropy"],
        )

    def _verify(self, names: Sequence[str]) -> None:
        if self.num_labels is not None and self.num_labels != len(names):
            raise Fault(f"data.num_labels={self.num_labels}, but the data have {len(names)} labels: {', '.join(names)}")

    def _unigram_entropy(self, store: TokenStore) -> float:
        """Of the training tokens without special ones, in nats: the loss of a model that knows frequencies alone."""
        counts = np.zeros(self.tokenizer.vocab_size, dtype=np.int64)
        for ids in store.blocks():
            counts += np.bincount(ids, minlength=len(counts))
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

    def divide(self, rank: int, world: int) -> None:
        """Give this process its share of every batch, `rank` of `world`; before `prepare_data` counts batches."""
        self.rank, self.world = rank, world

    def setup(self, stage: str) -> None:
        self.prepare_data()

    def _plan(self, split: str) -> Plan:
        training = split == "train"
        return self.batching.plan(
            self.stores[split], seed=self.seed, training=training, rank=self.rank, world=self.world
        )

    def _loader(self, split: str) -> Loader:
        store, training = self.stores[split], split == "train"
        device = None if self.trainer is None else self.trainer.strategy.root_device
        source: BatchSource | DeviceSource
        if device is not None and wanted(self.batching, self.on_device, store, device):
            source = DeviceSource(
                store, self.batching, self.tokenizer, seed=self.seed, training=training, device=device
            )
        else:
            source = BatchSource(store, self.batching, self.tokenizer, seed=self.seed, training=training)
        workers = self.num_workers if isinstance(source, BatchSource) else 0
        plan = self._plan(split)
        sampler = Ahead(plan, source) if isinstance(source, BatchSource) and not workers else plan
        return Loader(source, plan, sampler=sampler, workers=workers)

    def train_dataloader(self) -> Loader:
        return self._loader("train")

    def val_dataloader(self) -> Loader | list[Any]:
        return self._loader("validation") if "validation" in self.stores else []

    def test_dataloader(self) -> Loader | list[Any]:
        return self._loader("test") if "test" in self.stores else []


def _spelled(row: Row) -> Iterator[str]:
    """A row as JSON, a list of text, pair and target, in pieces: what is not ASCII takes six bytes a letter there."""
    if len(row.text) + len(row.pair or "") <= _LONG:
        yield json.dumps([row.text, row.pair, row.target])
        return
    for before, text in (("[", row.text), (", ", row.pair)):
        yield before + ("null" if text is None else '"')
        for begin in range(0, len(text or ""), _LONG):
            yield json.dumps((text or "")[begin : begin + _LONG])[1:-1]
        yield "" if text is None else '"'
    yield f", {json.dumps(row.target)}]"


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
