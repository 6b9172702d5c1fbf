"""On the way from the store to the model: batches made where, and when, they are asked for."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from src.data.batching import Batching, Masked
from src.data.plan import Plan
from src.data.store import TokenStore
from src.data.tokenizer import TextTokenizer
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
