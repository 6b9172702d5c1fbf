"""Packed rows: sequences laid end to end in rows of one length, as NumPy arrays.

Shape legend: T tokens of a batch, K masked positions.
"""

import functools
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from src.core.batch import MaskedBatch, Tokens
    from src.data.batches.batch_sampler import RowOrder
    from src.data.batches.masking import MaskedRows


class PackedTokens(Protocol):
    """A tokenised split from which rows of one length are cut: a `TokenStore` or
    `ShardedTokens`.
    """

    @property
    def num_tokens(self) -> int: ...
    def order_rows(self, row_tokens: int, seed: int) -> "RowOrder | None": ...
    def read_spans(self, begins: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]: ...


class PackedRows(NamedTuple):
    """A batch of packed rows as NumPy arrays: on arrays as small as these, NumPy takes a fraction
    of torch's time.
    """

    ids: np.ndarray  # [T]
    positions: np.ndarray  # [T] within each piece of a document
    starts: np.ndarray  # [pieces + 1]
    masked: np.ndarray  # [K] masked positions
    targets: np.ndarray  # [K]

    def append_row(self, row: "MaskedRows[np.ndarray]", starts: np.ndarray) -> "PackedRows":
        """This batch with one more row at its end, whose pieces begin at `starts`."""
        count = len(self.ids)
        positions = np.arange(row.ids.size) - starts[:-1].repeat(np.diff(starts))
        return PackedRows(
            np.concatenate((self.ids, row.ids.ravel())),
            np.concatenate((self.positions, positions)),
            np.concatenate((self.starts[:-1], starts + count)),
            np.concatenate((self.masked, row.positions + count)),
            np.concatenate((self.targets, row.targets)),
        )

    def to_batch(self, row_tokens: int) -> "MaskedBatch":
        """The batch as tensors; `row_tokens` is 0 where its rows are not all of one length."""
        import torch

        from src.core.batch import MaskedBatch

        tokens = to_tokens(self.ids, self.positions, self.starts, row_tokens)
        return MaskedBatch(tokens, torch.from_numpy(self.masked), torch.from_numpy(self.targets))


def to_tokens(
    ids: np.ndarray, positions: np.ndarray, starts: np.ndarray, row_tokens: int
) -> "Tokens":
    """Packed rows as tensors; arguments as in `PackedRows`."""
    import torch

    from src.core.batch import Tokens

    return Tokens(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        type_ids=torch.from_numpy(np.zeros_like(ids)),
        cu_seqlens=torch.from_numpy(starts.astype(np.int32)),
        max_seqlen=int((starts[1:] - starts[:-1]).max()),
        row_tokens=row_tokens,
    )


@functools.lru_cache(maxsize=4)
def partition_vocabulary(
    vocab_size: int, special_ids: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The ids that are not special, and a mask [V] that is true for the special ones."""
    special = np.zeros(vocab_size, dtype=bool)
    special[list(special_ids)] = True
    return np.flatnonzero(~special), special
