"""The LightningDataModule: it turns the rows of a source into batches for a model, and describes
the data for the model and for the record of the run.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from lightning.pytorch import LightningDataModule

from src.core.dataset_info import TEXT_TASKS, DatasetInfo
from src.core.formatting import format_count
from src.core.notices import Notices, join_notices
from src.core.training_length import TrainingLength, count_parts
from src.core.user_errors import UserError
from src.data.batches.augmented_rows import AugmentedRows
from src.data.batches.batch_sampler import DistributedBatchSampler
from src.data.batches.batching import Labelled, Masked
from src.data.batches.denoising_batching import Denoising
from src.data.batches.device_dataset import DeviceBatchDataset, should_keep_on_device
from src.data.batches.loader import BatchDataset, BatchPlan, PrefetchSampler, ResumableDataLoader
from src.data.batches.mask_schedule import MaskSchedule
from src.data.batches.sentence_pairs import SentencePairs
from src.data.batches.substitutes import LoadGuesser, Substitutes, open_substitutes
from src.data.batches.tagged_batches import describe_words
from src.data.cache import ContentCache
from src.data.leakage import MOST_LETTERS, find_repeated_rows
from src.data.near_train_rows import NearTrainRows, find_near_train_rows
from src.data.preparation.corpus import Corpus
from src.data.preparation.corpus_survey import CorpusSurvey
from src.data.preparation.splitting import SPLITS
from src.data.reading.sources import Source
from src.data.reading_notices import describe_rows
from src.data.surveyed_corpus import (
    SurveyedCorpus,
    check_num_labels,
    hash_as_json,
    survey_corpus,
)
from src.data.tokenization.dropped_letters import DroppedLetters
from src.data.tokenization.row_digest import iter_json_pieces
from src.data.tokenization.text_encoder import OWN_TOKENIZER_HINT
from src.data.tokenization.text_store import TextStore, write_texts
from src.data.tokenization.token_counts import TokenCounts
from src.data.tokenization.token_store import TargetLayout, TextRow, TokenStore
from src.data.tokenization.tokenize import CorpusSize, tokenize_to_stores
from src.data.tokenization.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from src.data.data_config import DataConfig


class TextDataModule(LightningDataModule):
    """Makes batches of the text of a source, as a `DataConfig` says.

    Nothing is read before `prepare_data`, which reads, cleans, splits and tokenises. Its result is
    kept in a cache, so that this is done only once for the same content.
    """

    def __init__(self, config: "DataConfig") -> None:
        super().__init__()
        self.config = config
        self.cache = ContentCache(config.cache)
        self.rank, self.world_size = 0, 1
        self._batch_ranks: int | None = None
        self.training_length: TrainingLength | None = None
        self.tokenizer: TextTokenizer
        self.dataset_info: DatasetInfo
        self._surveyed: SurveyedCorpus
        self.data_summary: dict[str, Any] = {}
        self.token_stores: dict[str, TokenStore] = {}
        self._load_guesser: LoadGuesser | None = None
        self._substitutes: Substitutes | None = None

    # -- reading

    def prepare_data(self) -> None:
        """Read, clean, split and tokenise, or find it all in the cache; idempotent."""
        if self.token_stores:
            return
        corpus, survey, rows_key = self._surveyed = survey_corpus(self.config, self.cache)
        self.tokenizer = self.config.tokenizer.load_tokenizer(
            lambda: corpus.iter_train_texts(survey), rows_key, self.cache
        )
        if isinstance(self.config.batching, Masked | SentencePairs | Denoising):
            self.config.batching.check_tokenizer(self.tokenizer)
        key = hash_as_json(
            [
                rows_key,
                self.tokenizer.fingerprint,
                self.config.batching.truncation_tokens,
                self._truncation,
                # earlier versions have not counted them
                *["letters"] * DroppedLetters(self.tokenizer.backend).is_possible,
            ]
        )
        folder = self.cache.get_or_build(
            "tokens",
            key,
            lambda folder: self._write_token_stores(folder, corpus, survey),
            resumable=True,
        )
        self.data_summary = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        self.token_stores = {
            split: TokenStore.open(folder / split) for split in SPLITS if (folder / split).is_dir()
        }
        if isinstance(self.config.batching, SentencePairs):
            self.config.batching.check_stores(self.token_stores)
        self.dataset_info = self._build_dataset_info()
        self._substitutes = open_substitutes(
            self.config.augmentation,
            self._open_training_texts,
            rows_key,
            self.cache,
            self._load_guesser,
        )

    @property
    def _truncation(self) -> Literal["head", "tail", "head_tail"]:
        return (
            self.config.batching.truncation
            if isinstance(self.config.batching, Labelled)
            else "head"
        )

    def _write_token_stores(self, folder: Path, corpus: Corpus, survey: CorpusSurvey) -> None:
        """Write the token store of each split, and about.json: the summary of the survey, a digest
        of the rows of each split, the unigram entropy, and the unknown tokens of each split.
        """
        summary = survey.data_summary
        digests = {
            split: hashlib.sha256(json.dumps(summary["label_names"] or None).encode())
            for split in summary["rows"]
        }

        letters, dropped = DroppedLetters(self.tokenizer.backend), dict.fromkeys(summary["rows"], 0)

        def iter_rows_with_digest() -> Iterator[tuple[str, TextRow]]:
            for split, row in corpus.iter_rows(survey):
                dropped[split] += letters.count(row.text, row.pair)
                for piece in iter_json_pieces(row):
                    digests[split].update(piece.encode())
                yield split, row

        tokenize_to_stores(
            folder,
            iter_rows_with_digest(),
            self.tokenizer.encoder,
            vocab_size=self.tokenizer.vocab_size,
            max_tokens=self.config.batching.truncation_tokens,
            truncation=self._truncation,
            targets=TargetLayout.of_task(self.config.task, len(summary["label_names"])),
            size=CorpusSize(sum(summary["rows"].values()), summary["letters"]),
        )
        counts = {
            split: TokenCounts.from_store(TokenStore.open(folder / split), self.tokenizer)
            for split in SPLITS
            if (folder / split).is_dir()
        }
        self._check_known_tokens(counts)
        if self.config.task == "token_classification":
            summary |= describe_words(folder, summary)
        is_text = self.config.task in TEXT_TASKS
        facts = {
            "digests": {split: digest.hexdigest() for split, digest in digests.items()},
            "unigram_entropy": counts["train"].compute_entropy() if is_text else None,
            "unknown": {split: found.num_unknown for split, found in counts.items()},
            "dropped_letters": dropped,
            "unknown_share": {split: found.unknown_share for split, found in counts.items()},
        }
        (folder / "about.json").write_text(
            json.dumps({**summary, **facts}, ensure_ascii=False), encoding="utf-8"
        )

    # -- facts for the model and for the record of the run

    def _build_dataset_info(self) -> DatasetInfo:
        names = tuple(self.data_summary["label_names"])
        check_num_labels(self.config.num_labels, names)
        return DatasetInfo(
            vocab_size=self.tokenizer.vocab_size,
            pad_id=self.tokenizer.pad_id,
            mask_id=self.tokenizer.mask_id,
            special_ids=self.tokenizer.special_ids,
            max_tokens=self.config.batching.max_tokens,
            label_names=names,
            batches_per_epoch=self.build_batch_sampler("train").num_global_batches,
            sample_tokens=self.tokenizer.sample_tokens(),
            unigram_entropy=self.data_summary["unigram_entropy"],
            own_vocab_size=self.tokenizer.own_vocab_size,
            label_counts=tuple(self.data_summary["labels"].get("train", {}).values()),
            num_train_rows=len(self.token_stores["train"]),
            end_id=self.tokenizer.end_id,
        )

    def _check_known_tokens(self, counts: Mapping[str, TokenCounts]) -> None:
        """Raise UserError if the texts of a split that is learnt from, or by which a language
        model is judged, are made of special and unknown tokens alone.
        """
        splits = ("train", "validation") if self.config.task in TEXT_TASKS else ("train",)
        for split in splits:
            if split not in counts or counts[split].num_known:
                continue
            raise UserError(
                f"the tokenizer knows nothing of the {split} texts: all they become is "
                f"{counts[split].num_unknown} unknown tokens and special ones "
                "(BERT's makes one unknown token of 100 characters without a space)",
                key="data.tokenizer",
                hint=OWN_TOKENIZER_HINT,
            )

    def describe_splits(self) -> dict[str, dict[str, Any]]:
        """Each split by its name, for the record of the run.

        The entry of a split has a full name, a digest of its rows after cleaning and splitting
        (before tokenisation), their number, and a profile: the number of tokens, the number of
        texts that were cut to length, the number of unknown tokens, and the count of each label.
        """
        return {
            split: {
                "name": f"{self.config.source.name}-{split}",
                "digest": self.data_summary["digests"][split][:16],
                "rows": len(store),
                "profile": {
                    "tokens": store.num_tokens,
                    "cut": store.num_truncated,
                    "unknown": self.data_summary["unknown"].get(split, 0),
                    "labels": self.data_summary["labels"].get(split, {}),
                },
            }
            for split, store in self.token_stores.items()
        }

    def find_repeated_rows(self, earlier: "DataConfig") -> dict[str, np.ndarray]:
        """Which of the held-out rows stand among the training rows of an earlier run, as
        `leakage.find_repeated_rows` says.

        Raises:
            UserError: the data of that run cannot be read, or are too many to look through.
        """
        surveyed = survey_corpus(earlier, self.cache)
        if (letters := surveyed.survey.data_summary["letters"]) > MOST_LETTERS:
            raise UserError(f"{format_count(letters)} letters are too many to look through")
        return find_repeated_rows(self._surveyed, surveyed, self.cache)

    def find_near_train_rows(self, threshold: float) -> NearTrainRows:
        """The rows of test that also stand, nearly, in train, as `near_train` says."""
        return find_near_train_rows(self._surveyed, threshold, self.cache)

    def describe_reading(self) -> Notices:
        """What was read, kept and lost, for the screen and the record of the run."""
        source = self.config.source
        cut = {split: store.num_truncated for split, store in self.token_stores.items()}
        own = [split for split in SPLITS if f"{split}/read" in self.data_summary["counts"]]
        unread = [*source.describe_unread()] if isinstance(source, Source) else []
        notices = describe_rows(
            self.data_summary,
            cut,
            cut_tokens=self.config.batching.truncation_tokens,
            unread=[*unread, *self.config.split.describe_unused(own)],
        )
        if isinstance(self.config.batching, Denoising):
            notices = join_notices(notices, self.config.batching.describe_target(self.tokenizer))
        if self._substitutes is not None:
            notices = join_notices(notices, self._substitutes.describe())
        return notices

    def describe_preprocessing(self) -> dict[str, Any]:
        """The settings by which texts become tokens, as plain values. A prediction must use them
        too.
        """
        return {
            "task": self.config.task,
            "label_names": self.data_summary["label_names"],
            "cleaning": asdict(self.config.cleaning),
            "max_tokens": self.config.batching.max_tokens,
            "truncation": self._truncation,
            "pairs": self.data_summary["pairs"],
        }

    # -- batches

    def set_rank(self, rank: int, world_size: int, batch_ranks: int | None = None) -> None:
        """Give this process its share of every batch; called before `prepare_data`.

        Args:
            rank, world_size: the number of this process, from 0, and how many there are.
            batch_ranks: the number of processes whose batches make a global batch of training;
                None: as many as there are.
        """
        self.rank, self.world_size, self._batch_ranks = rank, world_size, batch_ranks

    @property
    def num_parts(self) -> int:
        """Training batches of this process that make its share of a global one."""
        return count_parts(self._batch_ranks, self.world_size)

    def set_word_guesser(self, load: LoadGuesser) -> None:
        """Say how the masked language model of an augmentation is loaded. Called before
        `prepare_data`; without it, training rows have none of its words.
        """
        self._load_guesser = load

    def set_training_length(self, length: TrainingLength) -> None:
        """Say how many steps the training has, which a changing mask fraction depends on."""
        self.training_length = length

    def setup(self, stage: str) -> None:
        self.prepare_data()

    def build_batch_sampler(self, split: str) -> DistributedBatchSampler:
        """Which rows of a split meet in the batches of this process."""
        training = split == "train"
        batch_ranks = self._batch_ranks if training else None
        plan = self.config.batching.build_batch_sampler(
            self.token_stores[split],
            seed=self.config.seed,
            training=training,
            world_size=batch_ranks or self.world_size,
        )
        plan.share_among(self.rank, self.world_size)
        return plan

    def build_loader(self, split: str, plan: BatchPlan | None = None) -> ResumableDataLoader:
        """A loader of the batches of a split, or of those of another plan of its rows."""
        store, training = self.token_stores[split], split == "train"
        device = None if self.trainer is None else self.trainer.strategy.root_device
        schedule: MaskSchedule | None = None
        if training and isinstance(self.config.batching, Masked):
            schedule = self.config.batching.build_mask_schedule(self.training_length)
        source: BatchDataset | DeviceBatchDataset
        if device is not None and should_keep_on_device(
            self.config.batching, self.config.on_device, store, device
        ):
            source = DeviceBatchDataset(
                store,
                self.config.batching,
                self.tokenizer,
                seed=self.config.seed,
                training=training,
                device=device,
                schedule=schedule,
            )
        else:
            source = BatchDataset(
                store,
                self.config.batching,
                self.tokenizer,
                seed=self.config.seed,
                training=training,
                schedule=schedule,
                augmented=self._open_augmented_rows() if training else None,
            )
        workers = self.config.num_workers if isinstance(source, BatchDataset) else 0
        plan = self.build_batch_sampler(split) if plan is None else plan
        sampler = (
            PrefetchSampler(plan, source)
            if isinstance(source, BatchDataset) and not workers
            else plan
        )
        return ResumableDataLoader(source, plan, sampler=sampler, workers=workers)

    def _open_training_texts(self) -> TextStore:
        """The texts of the training rows, which are kept in the cache."""
        corpus, survey, rows_key = self._surveyed
        rows = ((row.text, row.pair) for _, row in corpus.iter_rows(survey, ("train",)))
        return TextStore.open(
            self.cache.get_or_build("texts", rows_key, lambda folder: write_texts(folder, rows))
        )

    def _open_augmented_rows(self) -> AugmentedRows | None:
        """The training rows as the augmentation changes them."""
        if self.config.augmentation is None:
            return None
        assert self.config.batching.truncation_tokens is not None
        return AugmentedRows(
            augmentation=self.config.augmentation,
            texts=self._open_training_texts(),
            store=self.token_stores["train"],
            encoder=self.tokenizer.encoder,
            has_pairs=self.data_summary["pairs"],
            max_tokens=self.config.batching.truncation_tokens,
            truncation=self._truncation,
            seed=self.config.seed,
            substitutes=self._substitutes,
        )

    def train_dataloader(self) -> ResumableDataLoader:
        return self.build_loader("train")

    def val_dataloader(self) -> ResumableDataLoader | list[Any]:
        return self.build_loader("validation") if "validation" in self.token_stores else []

    def test_dataloader(self) -> ResumableDataLoader | list[Any]:
        return self.build_loader("test") if "test" in self.token_stores else []
