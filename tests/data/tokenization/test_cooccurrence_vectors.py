"""Counts of neighbours against a plain loop, and their factors against dense algebra."""

import itertools

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import sqrtm

from src.data.tokenization.cooccurrence_vectors import (
    WINDOW,
    count_neighbours,
    factorise_neighbours,
)
from src.data.tokenization.sequence_starts import read_spans

VOCABULARY, LEFT_OUT = 12, (0, 1)


def _documents(seed: int, count: int = 40) -> list[np.ndarray]:
    chance = np.random.default_rng(seed)
    return [chance.integers(0, VOCABULARY - 1, chance.integers(0, 30)) for _ in range(count)]


def _count_slowly(documents: list[np.ndarray]) -> np.ndarray:
    counts = np.zeros((VOCABULARY, VOCABULARY))
    for document in documents:
        for place, token in enumerate(document):
            for distance in range(1, min(WINDOW, len(document) - 1 - place) + 1):
                after = document[place + distance]
                if token not in LEFT_OUT and after not in LEFT_OUT:
                    counts[token, after] += 1 / distance
    return counts


def _inform_slowly(counts: np.ndarray) -> np.ndarray:
    """The positive mutual information with right and left neighbours."""
    joint = np.hstack([counts, counts.T])
    smoothed = joint.sum(axis=0) ** 0.75
    expected = np.outer(joint.sum(axis=1), smoothed / smoothed.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.log(joint / expected), nan=0.0, neginf=0.0).clip(min=0)


@pytest.mark.parametrize("length", [1000, 10], ids=["whole documents", "short rows"])
def test_neighbours_are_counted_within_documents_and_rows(length: int) -> None:
    documents = _documents(1, 400)
    ids = np.concatenate(documents).astype(np.uint16)
    offsets = np.cumsum([0, *map(len, documents)])
    begins = np.arange(0, len(ids) - length + 1, length)
    # a second call, so that counts of several are added
    spans = [read_spans(ids, offsets, part, length) for part in np.array_split(begins, 2)]
    found = count_neighbours(spans, VOCABULARY, LEFT_OUT)
    borders = {*offsets.tolist(), *begins.tolist(), len(begins) * length}
    cut = sorted(border for border in borders if border <= len(begins) * length)
    pieces = [ids[one:other] for one, other in itertools.pairwise(cut)]
    np.testing.assert_allclose(found.toarray(), _count_slowly(pieces), rtol=1e-5)


def test_vectors_are_factors_of_the_mutual_information() -> None:
    counts = _count_slowly(_documents(2))
    vectors = factorise_neighbours(sparse.csr_array(counts.astype(np.float32)), VOCABULARY + 3)
    information = _inform_slowly(counts)
    # the last token stands nowhere, and the first two are left out
    assert not vectors[[0, 1, -1]].any() and not information[[0, 1, -1]].any()
    vectors, information = vectors[2:-1], information[2:-1]
    np.testing.assert_allclose(vectors @ vectors.T, sqrtm(information @ information.T), atol=1e-4)
    # as many columns as the vocabulary has tokens
    assert not vectors[:, VOCABULARY:].any()


def test_tokens_that_stand_in_for_each_other_are_near() -> None:
    chance = np.random.default_rng(3)
    # 2 or 3 always stand between 4 and 5, 6 or 7 between 8 and 9
    frames = [(4, (2, 3), 5), (8, (6, 7), 9)]
    documents = [
        np.array([before, chance.choice(middle), after])
        for before, middle, after in (frames[number % 2] for number in range(200))
    ]
    vectors = factorise_neighbours(sparse.csr_array(_count_slowly(documents)), 4)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    likeness = unit @ unit.T
    assert likeness[2, 3] > 0.99 and likeness[6, 7] > 0.99 and likeness[2, 6] < 0.1


def test_a_corpus_without_neighbours_tells_nothing() -> None:
    spans = [read_spans(np.array([5, 6]), np.array([0, 1, 2]), np.array([0]), 2)]
    counts = count_neighbours(spans, VOCABULARY, LEFT_OUT)
    assert not counts.nnz
    assert not factorise_neighbours(counts, 4).any()
