"""Packed rows: sequences laid end to end in rows of one length, as NumPy arrays.

Shape legend: T tokens of a batch, K masked positions.
"""

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from src.core.batch import MaskedBatch, Tokens
    from src.data.batches.masking import MaskedRows


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


def find_sequence_starts(offsets: np.ndarray, row_begins: np.ndarray, length: int) -> np.ndarray:
    """Where pieces of documents start when rows are laid end to end, and where the last one ends.

    Documents at offsets [0 5 9 20] and two rows of 8 tokens that begin at [0 8] give pieces of
    [5 3] and [1 7] tokens: [0 5 8 9 16].

    Args:
        offsets: where each document of the corpus begins, and where the last one ends.
        row_begins: where each row begins in the corpus, [B].
        length: tokens of each row.
    """
    first_border = offsets.searchsorted(row_begins, side="right")
    # documents that begin within each row
    counts = offsets.searchsorted(row_begins + length, side="left") - first_border
    counts_through = counts.cumsum()
    rows = np.arange(len(row_begins))
    # where each row begins in the batch
    batch_begins = rows * length
    borders = np.arange(counts.sum())
    starts = np.zeros(len(borders) + len(rows) + 1, dtype=np.int64)
    # Border i of the batch, in row r, has i borders and r row ends before it, and the zero that all
    # begins with.
    places, border_shifts, token_shifts = np.stack(
        (rows + 1, first_border - counts_through + counts, batch_begins - row_begins)
    ).repeat(counts, axis=1)
    starts[borders + places] = offsets[borders + border_shifts] + token_shifts
    starts[counts_through + rows + 1] = batch_begins + length
    differs = starts[1:] > starts[:-1]
    # A document without tokens starts where the next one does.
    return starts if differs.all() else np.concatenate((starts[:1], starts[1:][differs]))
