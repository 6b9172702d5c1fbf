"""Shards that are fetched before the batches come to them."""

from collections import deque
from collections.abc import Iterator

from src.data.batches.batch_sampler import BatchKey, DistributedBatchSampler
from src.data.batches.loader import count_prefetched
from src.data.batches.shard_order import ShardOrder
from src.data.shards.shard_cache import ShardCache


class FetchAheadSampler:
    """A batch sampler that tells a cache of shards which of them come next.

    Args:
        workers: processes that make the batches.
    """

    def __init__(
        self,
        batch_sampler: DistributedBatchSampler,
        order: ShardOrder,
        cache: ShardCache,
        *,
        row_tokens: int,
        workers: int,
    ) -> None:
        self.batch_sampler = batch_sampler
        self.batch_size = batch_sampler.batch_size
        self._order, self._cache = order, cache
        # so many batches are asked for before one is made, for which its shards must stay
        self._lead = max(2 * workers, count_prefetched(self.batch_size, row_tokens))

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.batch_sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[BatchKey]:
        recent: deque[BatchKey] = deque(maxlen=1 + self._lead)
        known: int | None = None
        for key in self.batch_sampler:
            # a rank has no rows where a batch has fewer than there are ranks
            if len(key.rows):
                recent.append(key)
                epoch, _, rows = recent[0]
                window = self._order.find_window(epoch, rows)
                if window != known:
                    known = window
                    self._cache.fetch_ahead(self._order.list_coming_shards(epoch, window))
            yield key
