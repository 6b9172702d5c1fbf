"""The LightningDataModule: it turns the rows of a source into batches for a model, and describes
the data for the model and for the record of the run.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch import LightningDataModule

from src.core.dataset_info import DatasetInfo, TokenVectors
from src.core.formatting import format_count
from src.core.notices import Notices, join_notices
from src.core.training_length import TrainingLength, count_parts
from src.core.user_errors import UserError
from src.data.batches.augmented_rows import AugmentedRows
from src.data.batches.batch_sampler import DistributedBatchSampler
from src.data.batches.batching import Labelled, Masked
from src.data.batches.denoising_batching import Denoising
from src.data.batches.device_dataset import DeviceBatchDataset, should_keep_on_device
from src.data.batches.length_warmup import LengthWarmup
from src.data.batches.loader import (
    BatchDataset,
    BatchPlan,
    PrefetchSampler,
    ResumableDataLoader,
)
from src.data.batches.mask_schedule import MaskSchedule
from src.data.batches.sentence_pairs import SentencePairs
from src.data.batches.substitutes import LoadGuesser, Substitutes, open_substitutes
from src.data.cache import ContentCache
from src.data.leakage import MOST_LETTERS, find_repeated_rows
from src.data.near_train_rows import NearTrainRows, find_near_train_rows
from src.data.preparation.splitting import SPLITS
from src.data.reading.sources import Source
from src.data.reading_notices import describe_rows
from src.data.shards.fetch_ahead import FetchAheadSampler
from src.data.shards.folder_mirror import FolderMirror
from src.data.shards.sharded_tokens import ShardedTokens
from src.data.surveyed_corpus import SurveyedCorpus, check_num_labels, survey_corpus
from src.data.token_vectors import load_token_vectors
from src.data.tokenization.text_store import TextStore, write_texts
from src.data.tokenization.token_store import TokenStore
from src.data.tokenization.tokenizer import TextTokenizer
from src.data.tokenized_corpus import find_truncation, tokenize_corpus

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
        shards = config.shards
        mirror = None if shards is None else FolderMirror(shards.open_folder())
        self.cache = ContentCache(config.cache, mirror)
        self.rank, self.world_size = 0, 1
        self._batch_ranks: int | None = None
        self.training_length: TrainingLength | None = None
        self.tokenizer: TextTokenizer
        self.dataset_info: DatasetInfo
        self._surveyed: SurveyedCorpus
        self._tokens_key: str
        self.data_summary: dict[str, Any] = {}
        # of the splits that are on this machine as a whole
        self.token_stores: dict[str, TokenStore] = {}
        self.sharded_train: ShardedTokens | None = None
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
        self.token_stores, self.sharded_train, self.data_summary, self._tokens_key = (
            tokenize_corpus(self._surveyed, self.tokenizer, self.config, self.cache)
        )
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
    def split_tokens(self) -> dict[str, TokenStore | ShardedTokens]:
        """The tokens of each split, wherever they are."""
        sharded = {} if self.sharded_train is None else {"train": self.sharded_train}
        return {**sharded, **self.token_stores}

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
            num_train_rows=len(self.split_tokens["train"]),
            end_id=self.tokenizer.end_id,
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
            for split, store in self.split_tokens.items()
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
        cut = {split: store.num_truncated for split, store in self.split_tokens.items()}
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
        if self.sharded_train is not None:
            notices = join_notices(notices, self.sharded_train.describe())
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
            "truncation": find_truncation(self.config.batching),
            "pairs": self.data_summary["pairs"],
        }

    def load_token_vectors(self, width: int) -> TokenVectors:
        """What the training rows tell of each token, in vectors of a width; made once for the same
        content.
        """
        return load_token_vectors(
            self.split_tokens["train"],
            self.dataset_info,
            width=width,
            row_tokens=self.config.batching.max_tokens,
            cache=self.cache,
            tokens_key=self._tokens_key,
        )

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
        """Say how many steps the training has, which a changing mask fraction or text length
        depends on.
        """
        self.training_length = length

    def setup(self, stage: str) -> None:
        self.prepare_data()

    def build_batch_sampler(self, split: str) -> DistributedBatchSampler:
        """Which rows of a split meet in the batches of this process."""
        training = split == "train"
        batch_ranks = self._batch_ranks if training else None
        # those in shards only where rows are packed, which the config has seen to
        store: Any = self.split_tokens[split]
        plan = self.config.batching.build_batch_sampler(
            store,
            seed=self.config.seed,
            training=training,
            world_size=batch_ranks or self.world_size,
        )
        plan.share_among(self.rank, self.world_size)
        return plan

    def build_loader(self, split: str, plan: BatchPlan | None = None) -> ResumableDataLoader:
        """A loader of the batches of a split, or of those of another plan of its rows."""
        store, training = self.split_tokens[split], split == "train"
        device = None if self.trainer is None else self.trainer.strategy.root_device
        schedule: MaskSchedule | None = None
        if training and isinstance(self.config.batching, Masked):
            schedule = self.config.batching.build_mask_schedule(self.training_length)
        length_warmup = self.build_length_warmup() if training else None
        source: BatchDataset | DeviceBatchDataset
        if (
            device is not None
            and isinstance(store, TokenStore)
            and should_keep_on_device(self.config.batching, self.config.on_device, store, device)
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
                length_warmup=length_warmup,
                augmented=self._open_augmented_rows() if training else None,
            )
        workers = self.config.num_workers if isinstance(source, BatchDataset) else 0
        plan = self.build_batch_sampler(split) if plan is None else plan
        sampler: BatchPlan | FetchAheadSampler | PrefetchSampler = plan
        if isinstance(store, ShardedTokens) and isinstance(plan, DistributedBatchSampler):
            row_tokens = self.config.batching.max_tokens
            order = store.order_rows(row_tokens, self.config.seed)
            sampler = FetchAheadSampler(
                plan, order, store.cache, row_tokens=row_tokens, workers=workers
            )
        if isinstance(source, BatchDataset) and not workers:
            sampler = PrefetchSampler(sampler, source)
        return ResumableDataLoader(source, plan, sampler=sampler, workers=workers)

    def build_length_warmup(self) -> LengthWarmup | None:
        """How long the training texts may be; None: as they are."""
        batching = self.config.batching
        if not isinstance(batching, Labelled):
            return None
        return batching.build_length_warmup(self.tokenizer, self.training_length)

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
            truncation=find_truncation(self.config.batching),
            seed=self.config.seed,
            substitutes=self._substitutes,
        )

    def train_dataloader(self) -> ResumableDataLoader:
        return self.build_loader("train")

    def val_dataloader(self) -> ResumableDataLoader | list[Any]:
        return self.build_loader("validation") if "validation" in self.token_stores else []

    def test_dataloader(self) -> ResumableDataLoader | list[Any]:
        return self.build_loader("test") if "test" in self.token_stores else []
