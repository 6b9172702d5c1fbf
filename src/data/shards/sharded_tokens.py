"""The tokens of a corpus in shards, read as if they lay end to end."""

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np

from src.core.formatting import format_quantity
from src.core.notices import Notices
from src.core.object_folder import ObjectFolder
from src.data.batches.shard_order import ShardOrder
from src.data.shards.manifest import OpenShard, ShardManifest
from src.data.shards.settings import Shards
from src.data.shards.shard_cache import ShardCache
from src.data.shards.shard_writer import COUNTS_FILE


class ShardedTokens:
    """A tokenised split in shards, opened for reading.

    Rows that are cut out of it are those of a `TokenStore` of the same documents, to the token;
    none reaches across shards.

    Args:
        place: the folder on this machine with the manifest.
        folder: where the shards lie.
        cached: the folder for copies of shards.
    """

    def __init__(self, place: Path, folder: ObjectFolder, cached: Path, settings: Shards) -> None:
        self.manifest = ShardManifest.read(place)
        self.cache = ShardCache(
            self.manifest, folder, cached / self.manifest.key, settings.cached_shards
        )
        self._place, self._window_shards = place, settings.window_shards
        # those that were read last; one more than a window, so that what is evicted from the disk
        # is soon closed
        self._open: OrderedDict[int, OpenShard] = OrderedDict()

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def num_tokens(self) -> int:
        return self.manifest.tokens

    @property
    def num_truncated(self) -> int:
        return self.manifest.cut

    def describe(self) -> Notices:
        """Where the shards lie, for the screen and the record of the run."""
        manifest, cache = self.manifest, self.cache
        where = cache.folder.address
        kept = "" if cache.folder.local else f", at most {cache.most} on this machine"
        line = (
            f"train: {format_quantity(len(manifest.shards), 'shard')} of {manifest.shard_tokens:,} "
            f"tokens in {where}{kept}; rows mix within {self._window_shards}"
        )
        facts = {
            "path": where,
            "key": manifest.key,
            "shards": len(manifest.shards),
            "shard_tokens": manifest.shard_tokens,
            "window_shards": self._window_shards,
            "cached_shards": cache.most,
        }
        return Notices((line,), {"data/shards": json.dumps(facts)})

    def count_tokens(self, vocab_size: int) -> np.ndarray:
        """How often each id of the vocabulary occurs, [V] int64."""
        counts: np.ndarray = np.load(self._place / COUNTS_FILE)
        assert len(counts) == vocab_size
        return counts

    def order_rows(self, row_tokens: int, seed: int) -> ShardOrder:
        """The order in which packed rows of this length are trained on."""
        return ShardOrder(
            seed=seed,
            num_rows=-(-self.num_tokens // row_tokens),
            shard_rows=self.manifest.shard_tokens // row_tokens,
            window_shards=self._window_shards,
        )

    def read_spans(self, begins: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows that are cut out of the documents, as `sequence_starts.read_spans` says."""
        numbers = begins // self.manifest.shard_tokens
        within = begins % self.manifest.shard_tokens
        ids = np.zeros((len(begins), length), dtype=np.int64)
        starts = [np.zeros(0, dtype=np.int64)]
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            ids[places], own_starts = self._open_shard(number).read_spans(within[places], length)
            row, column = np.divmod(own_starts[:-1], max(1, length))
            starts.append(places[row] * length + column)
        return ids, np.append(np.sort(np.concatenate(starts)), ids.size)

    def _open_shard(self, number: int) -> OpenShard:
        if number not in self._open:
            self._open[number] = self.cache.open_shard(number)
            if len(self._open) > self._window_shards + 1:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]
