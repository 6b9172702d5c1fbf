"""Documents laid end to end and cut into rows: where their pieces start, and a batch of such rows.

Shape legend: T tokens of a batch, K masked positions, V vocabulary.
"""

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from src.data.masking import Masked as MaskedRows

if TYPE_CHECKING:
    from src.terms.batch import MaskedBatch


class Packed(NamedTuple):
    """A batch of packed rows, still of NumPy, which takes a fraction of torch's time over arrays as small as these."""

    ids: np.ndarray  # [T]
    positions: np.ndarray  # [T] within each piece of a document
    starts: np.ndarray  # [pieces + 1]
    masked: np.ndarray  # [K]
    targets: np.ndarray  # [K]

    def followed(self, rest: MaskedRows, starts: np.ndarray) -> "Packed":
        """With one more row behind."""
        count = len(self.ids)
        return Packed(
            np.concatenate((self.ids, rest.ids.ravel())),
            np.concatenate((self.positions, np.arange(rest.ids.size) - starts[:-1].repeat(np.diff(starts)))),
            np.concatenate((self.starts[:-1], starts + count)),
            np.concatenate((self.masked, rest.positions + count)),
            np.concatenate((self.targets, rest.targets)),
        )

    def batch(self, row: int) -> "MaskedBatch":
        import torch

        from src.terms.batch import MaskedBatch, Tokens

        tokens = Tokens(
            ids=torch.from_numpy(self.ids),
            positions=torch.from_numpy(self.positions),
            types=torch.from_numpy(np.zeros_like(self.ids)),
            starts=torch.from_numpy(self.starts.astype(np.int32)),
            longest=int((self.starts[1:] - self.starts[:-1]).max()),
            row=row,
        )
        return MaskedBatch(tokens, torch.from_numpy(self.masked), torch.from_numpy(self.targets))


@functools.lru_cache(maxsize=4)
def kinds(vocab_size: int, special_ids: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The ids that are no special ones, and of each id whether it is [V]."""
    special = np.zeros(vocab_size, dtype=bool)
    special[list(special_ids)] = True
    return np.flatnonzero(~special), special


def sequence_starts(offsets: np.ndarray, begins: np.ndarray, length: int) -> np.ndarray:
    """Where the pieces of documents start in rows of so many tokens that are laid end to end, and where the last ends.

    Documents at offsets [0 5 9 20] and rows of 8 tokens that begin at [0 8], pieces of [5 3] and [1 7]: [0 5 8 9 16].
    """
    first = offsets.searchsorted(begins, side="right")
    counts = offsets.searchsorted(begins + length, side="left") - first  # borders within each row
    through = counts.cumsum()
    rows = np.arange(len(begins))
    shift = rows * length  # where each row begins in the batch
    inside = np.arange(counts.sum())
    starts = np.zeros(len(inside) + len(begins) + 1, dtype=np.int64)
    # Border i of the batch, in row r, has i borders and r row ends before it, and the zero that all begins with.
    row, place, move = np.stack((rows + 1, first - through + counts, shift - begins)).repeat(counts, axis=1)
    starts[inside + row] = offsets[inside + place] + move
    starts[through + rows + 1] = shift + length
    differs = starts[1:] > starts[:-1]
    # A document without tokens starts where the next one does.
    return starts if differs.all() else np.concatenate((starts[:1], starts[1:][differs]))
