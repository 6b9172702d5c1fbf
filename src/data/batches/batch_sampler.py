"""Which rows meet in a batch: a pure function of (seed, epoch), shared out to the ranks without
overlap or loss.

Shape legend: R rows of a split, N batches of an epoch, W ranks. A global batch is what all ranks
see in one step.
"""

import bisect
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from src.core.training_length import count_parts
from src.core.user_errors import UserError
from src.data.splitmix import permute_rows

# Grouped by length, a pool of rows makes this many batches: enough that their lengths agree, few
# enough that rows mix anew in every epoch.
POOL_BATCHES = 32


class BatchKey(NamedTuple):
    """What a batch is made from."""

    epoch: int
    number: int  # of the global batch in the epoch, from 0
    rows: np.ndarray  # [B] row numbers, those of one rank


class RowOrder(Protocol):
    """An order of the training rows of each epoch, other than a permutation of all of them; a pure
    function of (seed, epoch), such as `shard_order.ShardOrder`.
    """

    def take_rows(self, epoch: int, begin: int, end: int) -> np.ndarray:
        """The rows at these places of an epoch."""
        ...

    def list_settings(self) -> list[int]:
        """All that the order depends on, beside the seed and the number of rows."""
        ...


class DistributedBatchSampler:
    """The batches of each epoch; a sampler that yields the keys of this rank's.

    The number of batches is the same in every epoch and on every rank, and known before the first.

    Training rows without a token budget: a batch is the next `batch_size` rows of the epoch's
    permutation.

    Training rows with a token budget: the size of a batch must not depend on luck. Rows are sorted
    by length and cut into groups of P neighbours, where P is the number of pools; each group is
    shuffled and dealt out, one row to each pool. No pool can then hold more tokens than the sum of
    the groups' longest rows, which is the same in every epoch and lies above the mean by less than
    one row. A pool is a batch; or, grouped by length, it is cut into several batches at places that
    those sums decide.

    Held-out rows are one pool in fixed order: their metrics do not depend on who meets whom.

    The rows of a global batch depend on its limits alone and never on the number of ranks. A global
    batch is sorted by length, longest first, and dealt to the ranks in turn, beginning with the
    rank after the last one of the batch before. So ranks get equal counts but for one row, and
    nearly equal work; over an epoch of held-out rows, each rank gets at least one. Where a batch
    has fewer than W rows, the other ranks get an empty array, from which the batching makes a
    batch without targets.

    `share_among` divides the same global batches among another number of ranks. Where these are
    fewer, each goes through its share in several batches (`num_parts`) of the same step, none of
    which is larger than before.

    Args:
        num_rows: R.
        batch_size: most rows of a rank's batch; a global one has up to W times as many.
        lengths: [R] tokens of each row; None where all are equal but a shorter last one (packed
            rows).
        batch_tokens: most tokens of a batch, as a mean over ranks; a single row may be longer.
            None: no such limit.
        group_by_length: let training texts of similar lengths meet.
        warmup_batches: this many first training batches are smaller: half of them a quarter, the
            others half of the full batch (McCandlish et al., 2018; Warner et al., 2024, section
            2.2: gradients are least noisy at first). The rows left out come in the next epoch, so
            that epochs keep their number of batches.
        order: of the rows of a training epoch, where `lengths` are none; None: a permutation.

    Attributes:
        num_parts: batches of this rank that make its share of a global one.
        num_global_batches: of an epoch.

    Raises UserError if there are fewer rows than ranks, here and where they are shared among more.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        *,
        seed: int,
        training: bool,
        rank: int = 0,
        world_size: int = 1,
        lengths: np.ndarray | None = None,
        batch_tokens: int | None = None,
        group_by_length: bool = False,
        warmup_batches: int = 0,
        order: RowOrder | None = None,
    ) -> None:
        assert order is None or (training and lengths is None)
        _check_ranks(num_rows, world_size)
        self.num_rows = num_rows
        self.batch_size = batch_size
        self.seed = seed
        self.training = training
        self.rank = rank
        self.world_size = self._batch_ranks = world_size
        self.num_parts = 1
        self.lengths = lengths
        self.warmup_batches = warmup_batches if training else 0
        self.order = order
        self.epoch = 0
        # an epoch, and the first of its global batches that is wanted
        self._start_position = (0, 0)
        max_rows = batch_size * world_size
        max_tokens = math.inf if batch_tokens is None else batch_tokens * world_size
        # [R] row numbers, longest first, where lengths decide who meets
        self._by_length: np.ndarray | None = None
        # length of the longest row of each group of neighbours
        group_lengths: np.ndarray | None = None
        self._num_pools = 1
        if lengths is not None and (not training or group_by_length or batch_tokens is not None):
            self._by_length = np.argsort(-lengths, kind="stable")
            group_lengths = lengths[self._by_length]
            if training:
                batches = _count_pools_needed(group_lengths, max_rows, max_tokens)
                self._num_pools = math.ceil(batches / POOL_BATCHES) if group_by_length else batches
                group_lengths = group_lengths[:: self._num_pools]
        groups = math.ceil(num_rows / self._num_pools)
        # the last group may be too small to reach every pool
        min_groups = 1 + (num_rows % self._num_pools > 0)
        self._pool_cuts = _find_batch_cuts(groups, group_lengths, max_rows, max_tokens, min_groups)
        self.num_global_batches = self._num_pools * (len(self._pool_cuts) - 1)

    def share_among(self, rank: int, world_size: int) -> None:
        """Divide each global batch among `world_size` ranks, of which this is one. Its rows stay
        those that its limits have made, for the number of ranks that was given at first.
        """
        _check_ranks(self.num_rows, world_size)
        self.rank, self.world_size = rank, world_size
        self.num_parts = count_parts(self._batch_ranks, world_size)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def skip_to(self, epoch: int, batch: int) -> None:
        """Begin at this epoch and global batch, both counted from 0; no batch before it is made."""
        self._start_position = (epoch, batch)
        # a loader's workers get their first batches before Lightning sets the epoch
        self.epoch = epoch

    def compute_fingerprint(self) -> str:
        """A hash of everything that decides which rows meet in which batch, whatever the number of
        ranks.
        """
        settings = [
            self.num_rows,
            self.seed,
            self.training,
            self.warmup_batches,
            self._num_pools,
            self._pool_cuts,
        ]
        if self.order is not None:
            settings.append(self.order.list_settings())
        digest = hashlib.sha256(json.dumps(settings).encode())
        if self.lengths is not None:
            digest.update(np.ascontiguousarray(self.lengths, dtype=np.int64).tobytes())
        return digest.hexdigest()[:16]

    def state_dict(self) -> dict[str, Any]:
        """Where this sampler begins, counted in global batches. Whoever uses its batches counts how
        many were used since.
        """
        epoch, batch = self._start_position
        return {
            "plan": self.compute_fingerprint(),
            "epoch": epoch,
            "batch": batch,
            "batches": self.num_global_batches,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin where another sampler of the same batches was left.

        Raises UserError if its batches were others: a position among them would then mean nothing
        here.
        """
        if state["plan"] != self.compute_fingerprint():
            raise UserError(
                f"the batches are not those of the checkpoint: an epoch had {state['batches']} of "
                f"them, and now has {self.num_global_batches}; other rows, another data.batching, "
                "data.seed, or another product of data.batching.batch_size and the devices that it "
                "is for (trainer.batch_ranks). Training cannot go on in their midst"
            )
        self.skip_to(state["epoch"], state["batch"])

    def __len__(self) -> int:
        return self.num_global_batches * self.num_parts

    def __iter__(self) -> Iterator[BatchKey]:
        take_rows = self._deal_rows()
        spans = list(pairwise(self._pool_cuts))
        # batch b is cut b % S of pool b // S, for S cuts of a pool
        order = np.arange(self.num_global_batches)
        if self.training and self._by_length is not None:
            # the seed differs from that of the permutation that dealt the rows
            order = permute_rows(~self.seed, self.epoch, len(order))
        first = self._start_position[1] if self.epoch == self._start_position[0] else 0
        for number, batch in enumerate(order[first:].tolist(), first):
            pool, cut = divmod(batch, len(spans))
            begin, end = spans[cut]
            rows = take_rows(pool, begin, end)
            rows = rows[:: self._warmup_stride(len(rows), number)]
            for share in self._divide_rows(rows, begin):
                yield BatchKey(self.epoch, number, share)

    def _deal_rows(self) -> Callable[[int, int, int], np.ndarray]:
        """What tells which rows of this epoch are dealt to a pool, from one place to another: rows
        are dealt to the pools in turn.
        """
        epoch, order = self.epoch, self.order
        if order is not None:
            return lambda pool, begin, end: order.take_rows(epoch, begin, end)
        dealt, pools = self._order_rows(), self._num_pools
        return lambda pool, begin, end: dealt[pool::pools][begin:end]

    def _order_rows(self) -> np.ndarray:
        """[R] rows in the order in which they are dealt."""
        if not self.training:
            return np.arange(self.num_rows) if self._by_length is None else self._by_length
        shuffled = permute_rows(self.seed, self.epoch, self.num_rows)
        if self._by_length is None:
            return shuffled
        return self._by_length[np.lexsort((shuffled, np.arange(self.num_rows) // self._num_pools))]

    def _warmup_stride(self, num_rows: int, number: int) -> int:
        """Of a global batch every fourth row is taken, then every second, and after the warm-up
        every one.
        """
        done = self.epoch * self.num_global_batches + number
        stride = 4 if 2 * done < self.warmup_batches else 2 if done < self.warmup_batches else 1
        # of two or three rows, every other one
        return min(stride, 2 ** int(math.log2(num_rows)))

    def _divide_rows(self, rows: np.ndarray, num_dealt: int) -> Iterator[np.ndarray]:
        """This rank's parts of a global batch, longest rows first, where `num_dealt` rows came
        before. Neighbours in length go to the same part of different ranks.
        """
        # equal lengths, and packed rows, stay in the order of the disk
        rows = np.sort(rows)
        if self.lengths is not None:
            rows = rows[np.argsort(-self.lengths[rows], kind="stable")]
        count = self.world_size * self.num_parts
        for share in range(self.rank, count, self.world_size):
            yield rows[(share - num_dealt) % count :: count]


def _check_ranks(num_rows: int, world_size: int) -> None:
    if num_rows < world_size:
        raise UserError(
            f"{num_rows} rows cannot be divided among {world_size} ranks, each of which needs one "
            "at least: fewer trainer.devices (or trainer.num_nodes, trainer.batch_ranks), or more "
            "rows (data.split)"
        )


def _count_pools_needed(lengths: np.ndarray, max_rows: int, max_tokens: float) -> int:
    """The smallest number of pools to which rows of these lengths [R] (longest first) can be dealt
    so that no pool passes a limit.

    Dealt to n pools, lengths [9 7 6 4 3] cost a pool at most 9 + 7 + 6 + 4 + 3 for n = 1, and 9 + 6
    + 3 for n = 2.
    """
    rows = len(lengths)
    fits = lambda pools: (
        math.ceil(rows / pools) <= max_rows and lengths[::pools].sum() <= max_tokens
    )
    return min(1 + bisect.bisect_left(range(1, rows + 1), True, key=fits), rows)


def _find_batch_cuts(
    count: int, lengths: np.ndarray | None, max_rows: int, max_tokens: float, min_rows: int
) -> list[int]:
    """Where a sequence of `count` rows is cut into batches, 0 and `count` included: each batch as
    large as the limits allow.
    """
    if lengths is None:
        cuts = [*range(0, count, max_rows), count]
    else:
        tokens_before = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        cuts = [0]
        while cuts[-1] < count:
            begin = cuts[-1]
            limit = tokens_before[begin] + max_tokens
            full = int(np.searchsorted(tokens_before, limit, side="right")) - 1
            cuts.append(min(max(full, begin + min_rows), begin + max_rows, count))
    if len(cuts) > 2 and cuts[-1] - cuts[-2] < min_rows:
        del cuts[-2]
    return cuts


class RowBatchSizes(Protocol):
    """The batch sizes of a batching whose rows all count alike."""

    @property
    def batch_size(self) -> int: ...
    @property
    def eval_batch_size(self) -> int: ...
    @property
    def warmup_batches(self) -> int: ...


def build_row_sampler(
    sizes: RowBatchSizes,
    num_rows: int,
    *,
    seed: int,
    training: bool,
    rank: int,
    world_size: int,
    order: RowOrder | None = None,
) -> DistributedBatchSampler:
    """The batches of rows that all count alike, such as packed ones."""
    return DistributedBatchSampler(
        num_rows,
        sizes.batch_size if training else sizes.eval_batch_size,
        seed=seed,
        training=training,
        rank=rank,
        world_size=world_size,
        warmup_batches=sizes.warmup_batches,
        order=order if training else None,
    )
