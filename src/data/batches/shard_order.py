"""The order of the rows of a corpus in shards: few of which are needed at a time.

Shape legend: R rows of the corpus, S shards, W shards of a window.
"""

import functools

import numpy as np

from src.data.splitmix import derive_key, permute_rows


class ShardOrder:
    """Which row comes when in an epoch, a pure function of (seed, epoch).

    The shards of an epoch are permuted and taken in windows of W neighbours, and the rows of a
    window are permuted. So rows of W shards mix, and no others need to be at hand. A window is made
    when it is asked for: nothing is as large as the corpus.

    Args:
        num_rows: R.
        shard_rows: rows of each shard; the last one may have fewer.
        window_shards: W.
    """

    def __init__(self, *, seed: int, num_rows: int, shard_rows: int, window_shards: int) -> None:
        self.seed, self.num_rows = seed, num_rows
        self.shard_rows, self.window_shards = shard_rows, window_shards
        self.num_shards = -(-num_rows // shard_rows)
        self.num_windows = -(-self.num_shards // window_shards)
        # an epoch's shards, and the rows of two windows: of one that ends and one that begins
        self._permute_shards = functools.lru_cache(maxsize=2)(self._compute_shards)
        self._permute_window = functools.lru_cache(maxsize=2)(self._compute_window)

    def list_settings(self) -> list[int]:
        return [self.shard_rows, self.window_shards]

    def _compute_shards(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The shards of an epoch in their order [S], and where each window begins and the last one
        ends.
        """
        shards = permute_rows(self._derive_seed(epoch), 0, self.num_shards)
        sizes = np.minimum(self.num_rows - shards * self.shard_rows, self.shard_rows)
        ends = np.cumsum(sizes)[self.window_shards - 1 :: self.window_shards]
        return shards, np.unique([0, *ends, self.num_rows])

    def _derive_seed(self, epoch: int) -> int:
        return int(derive_key(self.seed, epoch)[0])

    def _compute_window(self, epoch: int, window: int) -> np.ndarray:
        """The rows of a window in their order."""
        begins = self.list_window(epoch, window) * self.shard_rows
        rows = np.concatenate(
            [np.arange(at, min(at + self.shard_rows, self.num_rows)) for at in begins.tolist()]
        )
        return rows[permute_rows(self._derive_seed(epoch), 1 + window, len(rows))]

    def list_window(self, epoch: int, window: int) -> np.ndarray:
        """The shards of a window."""
        shards, _ = self._permute_shards(epoch)
        return shards[window * self.window_shards : (window + 1) * self.window_shards]

    def take_rows(self, epoch: int, begin: int, end: int) -> np.ndarray:
        """The rows at the places from `begin` to `end` of an epoch."""
        _, edges = self._permute_shards(epoch)
        first = int(edges.searchsorted(begin, side="right")) - 1
        last = int(edges.searchsorted(end, side="left"))
        rows = [self._permute_window(epoch, window) for window in range(first, last)]
        return np.concatenate(rows)[begin - edges[first] : end - edges[first]]

    def find_window(self, epoch: int, rows: np.ndarray) -> int:
        """The first of the windows in which these rows stand."""
        shards, _ = self._permute_shards(epoch)
        wanted = np.isin(shards, rows // self.shard_rows)
        return int(wanted.argmax()) // self.window_shards

    def list_coming_shards(self, epoch: int, window: int) -> list[int]:
        """The shards of a window and of the one after it, in the order in which they come."""
        if window + 1 < self.num_windows:
            following = self.list_window(epoch, window + 1)
        else:
            following = self.list_window(epoch + 1, 0)
        return list(dict.fromkeys([*self.list_window(epoch, window).tolist(), *following.tolist()]))
