"""On the way from the store to the model: batches made where, and when, they are asked for."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from src.data.batching import Batching, Masked
from src.data.plan import Plan
from src.data.store import TokenStore
from src.data.tokenizer import TextTokenizer
from src.data.workers import steadfast
from src.terms.batch import LabelledBatch, MaskedBatch

AHEAD_TOKENS = 1 << 15  # of batches made in one go: what a call of NumPy costs is then shared by many tokens


class BatchSource:
    """A map from (epoch, rows) to a batch: what a DataLoader calls, in this process or in a worker."""

    def __init__(
        self, store: TokenStore, batching: Batching, tokenizer: TextTokenizer, *, seed: int, training: bool
    ) -> None:
        self.store = store
        self.batching = batching
        self.tokenizer = tokenizer
        self.seed = seed
        self.training = training

        self._ready: deque[tuple[object, MaskedBatch]] = deque()

    def __getitem__(self, key: tuple[int, np.ndarray]) -> MaskedBatch | LabelledBatch:
        if self._ready and self._ready[0][0] is key:
            return self._ready.popleft()[1]
        epoch, rows = key
        return self.batching.batch(
            self.store, rows, epoch=epoch, seed=self.seed, tokenizer=self.tokenizer, training=self.training
        )

    def expect(self, keys: Sequence[tuple[int, np.ndarray]]) -> None:
        """Make batches of one epoch that will be asked for next, in this order, with these very keys."""
        assert isinstance(self.batching, Masked)
        made = self.batching.batches(
            self.store,
            [rows for _, rows in keys],
            epoch=keys[0][0],
            seed=self.seed,
            tokenizer=self.tokenizer,
            training=self.training,
        )
        self._ready = deque(zip(keys, made, strict=True))


class Ahead:
    """A plan that has small masked batches made several at a time. Only where batches are made by this process."""

    def __init__(self, plan: Plan, source: BatchSource) -> None:
        self.plan = plan
        self.source = source
        self.count = 1
        if isinstance(source.batching, Masked):
            self.count = max(1, AHEAD_TOKENS // (plan.batch_size * source.batching.row_tokens))

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.plan.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        keys = iter(self.plan)
        while some := list(islice(keys, self.count)):
            if len(some) > 1:
                self.source.expect(some)
            yield from some


class Loader(DataLoader[Any]):
    """Batches by a plan, each made whole by its source; goes on where a checkpoint says (Lightning asks for this).

    A loader would draw a number from torch's own generator whenever it begins. It has another one here, so that dropout
    does not depend on how often batches were begun.

    Args:
        sampler: the plan, or what stands around it.
    """

    def __init__(self, source: Any, plan: Plan, *, sampler: Any, workers: int) -> None:
        super().__init__(
            source,
            sampler=sampler,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=_as_it_is,
            worker_init_fn=steadfast if workers else None,
            generator=torch.Generator(),
        )
        self._plan = plan

    def state_dict(self) -> dict[str, Any]:
        return self._plan.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._plan.load_state_dict(state)


def _as_it_is(batch: Any) -> Any:
    """A batch comes as tensors: looking for arrays in it, as a DataLoader would, costs as much as reading its rows."""
    return batch
