"""Vectors of tokens from their neighbours in a corpus, by counting and one factorisation: what
embeddings that are learnt would find first.

Shape legend: V tokens of the vocabulary, D width of a vector.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

WINDOW = 5
# of the probability of a neighbour: rare ones otherwise weigh too much
_SMOOTHING = 0.75
_POWER_ITERATIONS = 3


def count_neighbours(
    spans: Iterable[tuple[np.ndarray, np.ndarray]], vocab_size: int, left_out: Sequence[int]
) -> sparse.csr_array:
    """How often a token (row) stands before another one (column) in a document, at most 5 places
    away; a pair that is k places apart counts 1 / k. [V, V] float32.

    Args:
        spans: rows of tokens, and where documents start in them, as of
            `sequence_starts.read_spans`.
        left_out: ids of tokens that neither have neighbours nor are any.
    """
    counts = sparse.csr_array((vocab_size, vocab_size), dtype=np.float32)
    for ids, starts in spans:
        tokens = ids.ravel()
        documents = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        documents[np.isin(tokens, left_out)] = -1
        before, after, weights = [], [], []
        for distance in range(1, WINDOW + 1):
            is_pair = (documents[:-distance] == documents[distance:]) & (documents[distance:] >= 0)
            before.append(tokens[:-distance][is_pair])
            after.append(tokens[distance:][is_pair])
            weights.append(np.full(len(before[-1]), 1 / distance, dtype=np.float32))
        places = (np.concatenate(before), np.concatenate(after))
        counts += sparse.coo_array((np.concatenate(weights), places), counts.shape).tocsr()
    return counts


def factorise_neighbours(counts: sparse.csr_array, width: int) -> np.ndarray:
    """The vector of each token [V, D], float32; zeros where it has no neighbour, and in the columns
    beyond the size of the vocabulary.

    They are the left singular vectors, times the roots of the singular values, of the positive
    pointwise mutual information of a token with its neighbours on the right and on the left, whose
    probabilities are smoothed (Levy, Goldberg and Dagan, 2015, section 3).

    Args:
        counts: of `count_neighbours`.
    """
    vocab_size = counts.shape[0]
    vectors = np.zeros((vocab_size, width), dtype=np.float32)
    joint = sparse.hstack([counts, counts.T], format="coo")
    if not joint.nnz:
        return vectors
    totals = joint.sum(axis=1)
    neighbours = joint.sum(axis=0) ** _SMOOTHING
    neighbours /= neighbours.sum()
    row, column = joint.coords
    information = np.log(joint.data / (totals[row] * neighbours[column]))
    is_positive = information > 0
    positive = sparse.csr_array(
        (information[is_positive], (row[is_positive], column[is_positive])), joint.shape
    )
    rank = min(width, vocab_size)
    left, values, _ = randomized_svd(positive, rank, n_iter=_POWER_ITERATIONS, random_state=0)
    vectors[:, :rank] = left * np.sqrt(values)
    # which the factorisation leaves only nearly 0
    vectors[totals == 0] = 0
    return vectors
