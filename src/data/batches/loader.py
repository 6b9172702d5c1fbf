"""Loaders of batches: each batch is made where and when it is asked for, in this process or in
workers that ignore the signals meant for the run.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader

from src.core.batch import (
    DenoisingBatch,
    LabelledBatch,
    MaskedBatch,
    NextTokenBatch,
    SentencePairBatch,
    TaggedBatch,
)
from src.data.batches.augmented_rows import AugmentedRows
from src.data.batches.batch_sampler import BatchKey
from src.data.batches.batching import Batching, Labelled, Masked
from src.data.batches.length_warmup import LengthWarmup
from src.data.batches.mask_schedule import MaskSchedule
from src.data.batches.packing import PackedTokens
from src.data.tokenization.token_store import TokenStore
from src.data.tokenization.tokenizer import TextTokenizer

# of batches made in one go: the fixed cost of a NumPy call is then shared by many tokens
PREFETCH_TOKENS = 1 << 16
# for one batch, after which a worker counts as stuck: in a fork anything may wait for a thread that
# its parent had. The run then fails, and can be resumed, where it would wait for ever.
WORKER_TIMEOUT_SECONDS = 600


class BatchPlan(Protocol):
    """The batches of each epoch by their keys: a `DistributedBatchSampler` (batch_sampler.py),
    or some of its batches.
    """

    batch_size: int

    def set_epoch(self, epoch: int) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[BatchKey]: ...


class BatchKeys(Protocol):
    """What is iterated over: a `BatchPlan`, or another sampler around it."""

    batch_size: int

    def set_epoch(self, epoch: int) -> None: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[BatchKey]: ...


class BatchDataset:
    """A map from keys to batches, which a DataLoader reads in this process or in a worker.

    Args:
        schedule: how the share of masked tokens changes; None if it does not.
        length_warmup: how long labelled texts may be; None: as they are in the store.
        augmented: makes labelled rows anew in every epoch; None takes them as they are in the
            store.
    """

    def __init__(
        self,
        store: TokenStore | PackedTokens,
        batching: Batching,
        tokenizer: TextTokenizer,
        *,
        seed: int,
        training: bool,
        schedule: MaskSchedule | None = None,
        length_warmup: LengthWarmup | None = None,
        augmented: AugmentedRows | None = None,
    ) -> None:
        self.store = store
        self._augmented = augmented
        self.batching = batching
        self._schedule = schedule
        self._length_warmup = length_warmup
        self._settings: dict[str, Any] = {
            "seed": seed,
            "tokenizer": tokenizer,
            "training": training,
        }
        self._prefetched: deque[tuple[object, MaskedBatch]] = deque()

    def __getitem__(
        self, key: BatchKey
    ) -> (
        MaskedBatch
        | NextTokenBatch
        | SentencePairBatch
        | DenoisingBatch
        | LabelledBatch
        | TaggedBatch
    ):
        if self._prefetched and self._prefetched[0][0] is key:
            return self._prefetched.popleft()[1]
        if isinstance(self.batching, Masked):
            return self._build_masked([key])[0]
        # no other than packed rows are cut out of shards, which the config has seen to
        store: Any = self.store
        rows = key.rows
        if self._augmented is not None and len(rows):
            store, rows = self._augmented.build_store(rows, key.epoch), np.arange(len(rows))
        if isinstance(self.batching, Labelled) and self._length_warmup is not None:
            cut = self._length_warmup.cut_at(key.epoch, key.number)
            return self.batching.build_batch(
                store, rows, epoch=key.epoch, cut=cut, **self._settings
            )
        return self.batching.build_batch(store, rows, epoch=key.epoch, **self._settings)

    def _build_masked(self, keys: Sequence[BatchKey]) -> list[MaskedBatch]:
        """The batches of one epoch, made together as long as the same share is masked."""
        assert isinstance(self.batching, Masked)
        batches = []
        for fraction, some in groupby(keys, self._find_fraction):
            batches += self.batching.build_batches(
                self.store,
                [key.rows for key in some],
                epoch=keys[0].epoch,
                fraction=fraction,
                **self._settings,
            )
        return batches

    def _find_fraction(self, key: BatchKey) -> float | None:
        return None if self._schedule is None else self._schedule.fraction_at(key.epoch, key.number)

    def prefetch_batches(self, keys: Sequence[BatchKey]) -> None:
        """Make the batches of one epoch that will be asked for next, in this order and with these
        very key objects.
        """
        self._prefetched = deque(zip(keys, self._build_masked(keys), strict=True))


def count_prefetched(batch_size: int, row_tokens: int) -> int:
    """How many small masked batches are made at a time."""
    return max(1, PREFETCH_TOKENS // (batch_size * row_tokens))


class PrefetchSampler:
    """A batch sampler that has small masked batches made several at a time.

    Only for a loader without workers: the dataset must live in this process.
    """

    def __init__(self, batch_sampler: BatchKeys, dataset: BatchDataset) -> None:
        self.batch_sampler = batch_sampler
        self.dataset = dataset
        self.batch_size = batch_sampler.batch_size
        self.prefetch_count = 1
        if isinstance(dataset.batching, Masked):
            self.prefetch_count = count_prefetched(self.batch_size, dataset.batching.row_tokens)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.batch_sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[BatchKey]:
        keys = iter(self.batch_sampler)
        while some := list(islice(keys, self.prefetch_count)):
            if len(some) > 1:
                self.dataset.prefetch_batches(some)
            yield from some


class ResumableDataLoader(DataLoader[Any]):
    """Batches that a dataset makes whole, in the order of a batch sampler. Lightning stores and
    restores its state, so that a run goes on where a checkpoint says.

    A DataLoader draws a number from torch's global generator whenever an iteration begins. This one
    has a generator of its own, so that dropout does not depend on how often that happened.

    Args:
        batch_sampler: the order, and what the state is about.
        sampler: what is iterated over: the batch sampler, or a `PrefetchSampler` around it.
        workers: processes that make batches; 0 makes them in this one.
    """

    def __init__(
        self, dataset: Any, batch_sampler: BatchPlan, *, sampler: Any, workers: int
    ) -> None:
        super().__init__(
            dataset,
            sampler=sampler,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=_collate_identity,
            worker_init_fn=prepare_worker if workers else None,
            timeout=WORKER_TIMEOUT_SECONDS if workers else 0,
            generator=torch.Generator(),
        )
        # DataLoader itself has a `batch_sampler`, which is None here
        self._epoch_sampler = batch_sampler

    def state_dict(self) -> dict[str, Any]:
        return self._epoch_sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._epoch_sampler.load_state_dict(state)


def _collate_identity(batch: Any) -> Any:
    """A batch comes as tensors: looking for arrays in it, as a DataLoader would, costs as much as
    reading its rows.
    """
    return batch


def prepare_worker(worker_number: int) -> None:
    """Prepare a process that makes batches. A function for DataLoader's `worker_init_fn`.

    It is forked, so it has none of its parent's threads, for which it would wait for ever. The
    library `tokenizers` has some once it has encoded texts, and uses them in a fork too where
    TOKENIZERS_PARALLELISM=true stands in the environment.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    ignore_signals()


_IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def ignore_signals() -> None:
    """Let a worker go on when a signal reaches all processes of a run, as Ctrl-C in a terminal and
    a scheduler's SIGTERM do.

    The training process then still gets the batches of the optimizer step that it completes before
    it writes its checkpoint. Only the training process may end the worker: by a SIGTERM of its own,
    or by its death, which torch's loop in a worker looks for every 5 seconds.
    """
    parent = os.getppid()
    # threads that start from here on inherit the mask
    signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED_SIGNALS)

    def listen() -> None:
        while signal.sigwaitinfo(_IGNORED_SIGNALS).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=listen, name="signals", daemon=True).start()
