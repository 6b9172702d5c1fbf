"""Batches of causal language modelling: packed rows in which every token but the first of each
document is to be predicted from those before it.

Shape legend: B rows of a batch, L tokens of a packed row, T tokens of a batch, K predicted tokens.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from src.core.validation import Bound, NonNegativeInt, PositiveInt, validate_init

# NumPy and torch are imported where batches are made: reading a config does not need them.
if TYPE_CHECKING:
    import numpy as np

    from src.core.batch import NextTokenBatch
    from src.data.batches.batch_sampler import DistributedBatchSampler
    from src.data.batches.packing import PackedTokens
    from src.data.tokenization.tokenizer import TextTokenizer


@validate_init
@dataclass(frozen=True, kw_only=True)
class Causal:
    """Documents laid end to end and cut into full rows, whose tokens are predicted one by one.

    No token is lost: a document that does not fit goes on in the next row, where its first token
    is predicted from nothing and so is no target. Documents in a row never see each other.

    Args:
        row_tokens: length of a packed row.
        batch_size: rows of a training batch on each rank.
        eval_batch_size: the same for held-out rows.
        warmup_batches: this many first batches are smaller, a quarter and then half of
            `batch_size`.
    """

    kind: ClassVar[str] = "causal_lm"

    row_tokens: Annotated[int, Bound(least=8)] = 128
    batch_size: PositiveInt = 32
    eval_batch_size: PositiveInt = 64
    warmup_batches: NonNegativeInt = 0

    @property
    def max_tokens(self) -> int:
        return self.row_tokens

    @property
    def truncation_tokens(self) -> None:
        """Documents are never cut when they are tokenised."""
        return None

    def build_batch_sampler(
        self,
        store: "PackedTokens",
        *,
        seed: int,
        training: bool,
        rank: int = 0,
        world_size: int = 1,
    ) -> "DistributedBatchSampler":
        from src.data.batches.batch_sampler import build_row_sampler

        num_rows = math.ceil(store.num_tokens / self.row_tokens)
        return build_row_sampler(
            self,
            num_rows,
            seed=seed,
            training=training,
            rank=rank,
            world_size=world_size,
            order=store.order_rows(self.row_tokens, seed),
        )

    def build_batch(
        self,
        store: "PackedTokens",
        rows: "np.ndarray",
        *,
        epoch: int,
        seed: int,
        tokenizer: "TextTokenizer",
        training: bool,
    ) -> "NextTokenBatch":
        """The tokens as they are, the place of each that has a next one in its document, and that
        next one.
        """
        import numpy as np
        import torch

        from src.core.batch import NextTokenBatch
        from src.data.batches.packing import to_tokens

        is_empty = not len(rows)
        rows = np.zeros(1, dtype=np.int64) if is_empty else np.sort(rows)
        length = self.row_tokens
        num_full = store.num_tokens // length
        full_rows = rows[rows < num_full]
        ids, borders = store.read_spans(full_rows * length, length)
        flat = ids.ravel()
        if len(full_rows) < len(rows):
            # the last row of the corpus, which is short
            rest, pieces = store.read_spans(
                np.array([num_full * length]), store.num_tokens % length
            )
            borders = np.concatenate((borders[:-1], pieces + len(flat)))
            flat = np.concatenate((flat, rest.ravel()))
        positions = np.arange(len(flat)) - borders[:-1].repeat(np.diff(borders))
        followed = np.flatnonzero(positions[1:])
        if is_empty:
            followed = followed[:0]
        return NextTokenBatch(
            to_tokens(flat, positions, borders, length * (len(full_rows) == len(rows))),
            torch.from_numpy(followed),
            torch.from_numpy(flat[followed + 1]),
        )
