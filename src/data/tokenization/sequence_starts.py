"""Rows of one length that are cut out of documents which lie end to end."""

import numpy as np


def read_spans(
    ids: np.ndarray, offsets: np.ndarray, begins: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of rows [B, L] (int64), and where the pieces of documents start in these rows, as
    `find_sequence_starts` says.

    Args:
        ids: of the corpus, [T].
        offsets: where each document of the corpus begins, and where the last one ends.
        begins: where each row begins in the corpus, [B].
        length: tokens of each row.
    """
    starts = find_sequence_starts(offsets, begins, length)
    if not len(begins):
        return np.zeros((0, length), dtype=np.int64), starts
    # [T - L + 1, L], a view
    rows = np.lib.stride_tricks.sliding_window_view(ids, length)
    return rows[begins].astype(np.int64), starts


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
