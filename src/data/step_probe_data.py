"""Some batches of the data that stand for all of them, for a trial of a few steps."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule

from src.data.batches.batch_sampler import BatchKey, DistributedBatchSampler
from src.data.batches.loader import ResumableDataLoader
from src.data.datamodule import TextDataModule

# Multiples of it, without their whole part, lie evenly in [0, 1), however many are taken.
_GOLDEN_RATIO = 0.6180339887498949
_VALIDATION_BATCHES = 4


class ChosenBatches:
    """Some of a plan's batches, in an order of their own; a `BatchPlan` of
    src/data/batches/loader.py.
    """

    def __init__(self, plan: DistributedBatchSampler, batches: Sequence[BatchKey]) -> None:
        self.batch_size = plan.batch_size
        self._plan, self._batches = plan, batches

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: these batches are of the first epoch."""

    def state_dict(self) -> dict[str, Any]:
        return self._plan.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._plan.load_state_dict(state)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[BatchKey]:
        return iter(self._batches)


class StepProbeData(LightningDataModule):
    """Training batches spread over the first epoch, with the largest ones behind those of the first
    step; a few validation batches, the largest first.

    Args:
        data: prepared.
        steps: most optimizer steps of the trial.
        accumulate: global batches of a step.
        limit_batches: only so many first ones of each split count; None: all.

    Attributes:
        batches_per_step: of this process.
    """

    def __init__(
        self, data: TextDataModule, *, steps: int, accumulate: int, limit_batches: int | None
    ) -> None:
        super().__init__()
        self._data = data
        self.batches_per_step = accumulate * data.num_parts
        self._num_batches = steps * self.batches_per_step
        self._plan = data.build_batch_sampler("train")
        self._limit_batches = limit_batches and limit_batches * data.num_parts
        self._batches = list(self._plan)[: self._limit_batches]
        self._validation_plan = data.build_batch_sampler("validation")
        self._validation_batches = list(self._validation_plan)[:limit_batches]
        self._length_warmup = data.build_length_warmup()
        # [N], of the first epoch
        self._batch_tokens = np.array([self._count_tokens(key) for key in self._batches])

    def count_training_tokens(self, steps: int) -> int:
        """The tokens that this process sees in the first so many optimizer steps of a run."""
        epochs, rest = divmod(steps, math.ceil(len(self._batches) / self.batches_per_step))
        if self._length_warmup is not None:
            # each epoch has texts of other lengths
            whole = sum(self._count_epoch(epoch).sum() for epoch in range(epochs))
            return int(whole + self._count_epoch(epochs)[: rest * self.batches_per_step].sum())
        first = later = self._batch_tokens
        if self._plan.warmup_batches and epochs:
            # the batches of the first epoch are smaller
            later = self._count_epoch(epochs)
        last = (later if epochs else first)[: rest * self.batches_per_step]
        whole = first.sum() + (epochs - 1) * later.sum() if epochs else 0
        return int(whole + last.sum())

    def _count_epoch(self, epoch: int) -> np.ndarray:
        """The tokens of each batch of an epoch [N]."""
        self._plan.set_epoch(epoch)
        batches = list(self._plan)[: self._limit_batches]
        self._plan.set_epoch(0)
        return np.array([self._count_tokens(key) for key in batches])

    def _find_lengths(self, key: BatchKey) -> np.ndarray:
        """The tokens of each training row of a batch [B]."""
        rows = key.rows
        if self._plan.lengths is not None:
            lengths = self._plan.lengths[rows]
            if self._length_warmup is None:
                return lengths
            cut = self._length_warmup.cut_at(key.epoch, key.number)
            return lengths if cut is None else np.minimum(lengths, cut.limit)
        # packed, and the last row may be short
        length = self._data.config.batching.max_tokens
        rest = self._data.split_tokens["train"].num_tokens - rows * length
        return np.minimum(rest, length)

    def _count_tokens(self, key: BatchKey) -> int:
        return int(self._find_lengths(key).sum())

    def _count_padded(self, key: BatchKey) -> int:
        """The tokens of a batch whose texts are all as long as the longest."""
        return len(key.rows) * int(self._find_lengths(key).max(initial=0))

    def choose_training_batches(self) -> list[BatchKey]:
        """The batches of the trial, in their order."""
        count = len(self._batches)
        spread = (np.arange(1, self._num_batches + 1) * _GOLDEN_RATIO % 1 * count).astype(int)
        padded = [self._count_padded(key) for key in self._batches]
        largest = dict.fromkeys([int(self._batch_tokens.argmax()), int(np.argmax(padded))])
        order = [*spread[: self.batches_per_step], *largest, *spread[self.batches_per_step :]]
        return [self._batches[number] for number in order[: self._num_batches]]

    def train_dataloader(self) -> ResumableDataLoader:
        self._data.trainer = self.trainer
        chosen = ChosenBatches(self._plan, self.choose_training_batches())
        return self._data.build_loader("train", chosen)

    def val_dataloader(self) -> ResumableDataLoader:
        self._data.trainer = self.trainer
        step = -(-len(self._validation_batches) // _VALIDATION_BATCHES)
        chosen = ChosenBatches(self._validation_plan, self._validation_batches[::step])
        return self._data.build_loader("validation", chosen)
