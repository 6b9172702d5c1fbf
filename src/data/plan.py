"""Which rows meet in a batch: a pure function of (seed, epoch), divided among ranks without overlap or loss.

Shape legend: R rows of a split, N batches of an epoch, W ranks. A global batch is what all ranks see in one step.
"""

import bisect
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from src.data.masking import order
from src.terms.fault import Fault

POOL_BATCHES = 32  # of similar lengths come out of one pool: enough for lengths to agree, few enough to mix anew


class Plan:
    """The batches of each epoch; a sampler that yields (epoch, rows of this rank).

    The number of batches is the same in every epoch, on every rank, and known before the first. Without a token budget
    a training batch is the next `batch_size` rows of the epoch's permutation. With a budget its size must not depend on
    luck, so rows are dealt: sorted by length, each run of P neighbours goes to P hands in random order, one to each. No
    hand's tokens can then pass the sum of the runs' longest rows, which no epoch changes and which lies above the mean
    by less than one row. A hand is a batch; or, grouped by length, a pool that is cut into batches at places that those
    sums decide. Held-out rows are one pool in fixed order: their metrics do not depend on who meets whom.

    Which rows a global batch has depends on its limits alone, never on how many ranks share it. It is sorted by length,
    longest first, and dealt to the ranks in turn, on from where the batch before it ended: equal counts but for one
    row, nearly equal work, and of an epoch of held-out rows each rank has one at least. Where a batch has fewer than W
    rows, the others get none: an empty array, of which the batching makes a batch without targets.

    Args:
        rows: R.
        batch_size: most rows of a rank's batch; a global one has W times as many.
        lengths: [R] tokens of each row; None where all are alike but a shorter last one (packed rows).
        batch_tokens: most tokens of a batch, as a mean over ranks; a single row may be longer. None: no such limit.
        group_by_length: let training texts of similar lengths meet.
        warmup_batches: the first so many of the training are smaller: half of them a quarter, the others half of the
            full batch (McCandlish et al., 2018; Warner et al., 2024, section 2.2: gradients are least noisy at first).
            The rows left out come in the next epoch, so that epochs keep their number of batches.

    Raises Fault where there are fewer rows than ranks.
    """

    def __init__(
        self,
        rows: int,
        batch_size: int,
        *,
        seed: int,
        training: bool,
        rank: int = 0,
        world: int = 1,
        lengths: np.ndarray | None = None,
        batch_tokens: int | None = None,
        group_by_length: bool = False,
        warmup_batches: int = 0,
    ) -> None:
        if rows < world:
            raise Fault(
                f"{rows} rows cannot be divided among {world} ranks, each of which needs one at least: "
                "fewer trainer.devices (or trainer.num_nodes), or more rows (data.split)"
            )
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.training = training
        self.rank = rank
        self.world = world
        self.lengths = lengths
        self.warmup_batches = warmup_batches if training else 0
        self.epoch = 0
        self._begin = (0, 0)  # an epoch, and the first of its batches that is wanted
        most_rows = batch_size * world
        most_tokens = math.inf if batch_tokens is None else batch_tokens * world
        self._by_length: np.ndarray | None = None  # [R] row numbers, longest first, where lengths decide who meets
        self._hands = 1
        longest: np.ndarray | None = None  # of each run of neighbours
        if lengths is not None and (not training or group_by_length or batch_tokens is not None):
            self._by_length = np.argsort(-lengths, kind="stable")
            longest = lengths[self._by_length]
            if training:
                batches = _fewest_hands(longest, most_rows, most_tokens)
                self._hands = math.ceil(batches / POOL_BATCHES) if group_by_length else batches
                longest = longest[:: self._hands]
        runs = math.ceil(rows / self._hands)
        least = 1 + (rows % self._hands > 0)  # the last run is too short to reach every hand
        self._cuts = _cuts(runs, longest, most_rows, most_tokens, least)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def begin(self, epoch: int, batch: int) -> None:
        """Leave out the batches of an epoch before this one, counted from 0: none of them is made."""
        self._begin = (epoch, batch)
        self.epoch = epoch  # a loader's workers are given their first batches before Lightning says the epoch

    def fingerprint(self) -> str:
        """Of what decides which rows meet in which batch, whatever the number of ranks that share it."""
        known = [self.rows, self.seed, self.training, self.warmup_batches, self._hands, self._cuts]
        digest = hashlib.sha256(json.dumps(known).encode())
        if self.lengths is not None:
            digest.update(np.ascontiguousarray(self.lengths, dtype=np.int64).tobytes())
        return digest.hexdigest()[:16]

    def state_dict(self) -> dict[str, Any]:
        """The place where the plan begins. How many batches have been used since is known to who used them."""
        epoch, batch = self._begin
        return {"plan": self.fingerprint(), "epoch": epoch, "batch": batch, "batches": len(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin where another plan of the same batches was left.

        Raises Fault where its batches were others: a number of them would say nothing about this one's.
        """
        if state["plan"] != self.fingerprint():
            raise Fault(
                f"the batches are not those of the checkpoint: an epoch had {state['batches']} of them, and now has "
                f"{len(self)}; other rows, another data.batching, data.seed, or another product of trainer.devices "
                "and data.batching.batch_size. Training cannot go on in their midst"
            )
        self.begin(state["epoch"], state["batch"])

    def __len__(self) -> int:
        return self._hands * (len(self._cuts) - 1)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        places = self._places()
        spans = list(pairwise(self._cuts))
        turns = np.arange(len(self))
        if self.training and self._by_length is not None:
            turns = order(~self.seed, self.epoch, len(self))  # not the permutation that dealt the rows
        first = self._begin[1] if self.epoch == self._begin[0] else 0
        for number, turn in enumerate(turns[first:].tolist(), first):
            hand, piece = divmod(turn, len(spans))
            begin, end = spans[piece]
            rows = places[hand :: self._hands][begin:end]
            yield self.epoch, self._share(rows[:: self._stride(len(rows), number)], begin)

    def _places(self) -> np.ndarray:
        """[R] rows in the order in which hands take them, one each in turn."""
        if not self.training:
            return np.arange(self.rows) if self._by_length is None else self._by_length
        shuffled = order(self.seed, self.epoch, self.rows)
        if self._by_length is None:
            return shuffled
        return self._by_length[np.lexsort((shuffled, np.arange(self.rows) // self._hands))]

    def _stride(self, rows: int, number: int) -> int:
        """Every how manyth row of a global batch is taken: 4, 2, and 1 when the warm-up is over."""
        done = self.epoch * len(self) + number
        stride = 4 if 2 * done < self.warmup_batches else 2 if done < self.warmup_batches else 1
        return min(stride, 2 ** int(math.log2(rows)))  # of two or three rows, every other one

    def _share(self, rows: np.ndarray, dealt: int) -> np.ndarray:
        """This rank's rows of a global batch, longest first, where so many rows were dealt before."""
        rows = np.sort(rows)  # among equal lengths, and among packed rows, in the order of the disk
        if self.lengths is not None:
            rows = rows[np.argsort(-self.lengths[rows], kind="stable")]
        return rows[(self.rank - dealt) % self.world :: self.world]


def _fewest_hands(lengths: np.ndarray, most_rows: int, most_tokens: float) -> int:
    """Among how few hands lengths [R] (longest first) can be dealt so that no hand passes a limit.

    Dealt to n hands, lengths [9 7 6 4 3] cost a hand at most 9 + 7 + 6 + 4 + 3 for n = 1, 9 + 6 + 3 for n = 2.
    """
    rows = len(lengths)
    fits = lambda hands: math.ceil(rows / hands) <= most_rows and lengths[::hands].sum() <= most_tokens
    return min(1 + bisect.bisect_left(range(1, rows + 1), True, key=fits), rows)


def _cuts(count: int, lengths: np.ndarray | None, most_rows: int, most_tokens: float, least: int) -> list[int]:
    """Where `count` places in a row are cut, 0 and `count` included: each piece as large as the limits allow."""
    if lengths is None:
        cuts = [*range(0, count, most_rows), count]
    else:
        before = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        cuts = [0]
        while cuts[-1] < count:
            begin = cuts[-1]
            full = int(np.searchsorted(before, before[begin] + most_tokens, side="right")) - 1
            cuts.append(min(max(full, begin + least), begin + most_rows, count))
    if len(cuts) > 2 and cuts[-1] - cuts[-2] < least:
        del cuts[-2]
    return cuts
