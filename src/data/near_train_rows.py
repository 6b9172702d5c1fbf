"""Test rows that also stand, nearly, in train: for each the most similar training row.

With the package datasketch they are found as near duplicates are; without it, those that have the
same words in the same order, whatever their capitals and punctuation.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from src.core.formatting import format_count
from src.core.user_errors import UserError
from src.data.cache import ContentCache
from src.data.preparation.cleaning import hash_text
from src.data.preparation.near_duplicates import (
    PLACES,
    TextSigner,
    find_alike_pairs,
    find_words,
)
from src.data.surveyed_corpus import SurveyedCorpus, hash_as_json

# Data with more letters are not looked through: that would take more than half a minute.
MOST_LETTERS = 400_000_000
_VERSION = 1
_ARRAYS = ("rows", "neighbours", "similarity")
# Training rows whose signatures are compared at a time: 16 MB.
_BLOCK_ROWS = 1 << 16


class NearTrainRows(NamedTuple):
    """Test rows with their most similar training rows.

    Args:
        rows: [K] numbers of the test rows in the source, rising.
        neighbours: [K] numbers of the training rows.
        similarity: [K] estimated Jaccard index of their pairs of neighbouring words.
        same_words: whether only rows of the same words were looked for, since datasketch is not
            installed.
    """

    rows: np.ndarray
    neighbours: np.ndarray
    similarity: np.ndarray
    same_words: bool


def find_near_train_rows(
    ours: SurveyedCorpus, threshold: float, cache: ContentCache
) -> NearTrainRows:
    """Find the test rows that are similar to a training row, at least to the threshold.

    Rows without words are similar to none. A pair is compared as one text.

    Raises:
        UserError: the rows are too many to look through.
    """
    if (letters := ours.survey.data_summary["letters"]) > MOST_LETTERS:
        raise UserError(f"{format_count(letters)} letters are too many to look through")
    same_words = find_spec("datasketch") is None

    def write_found(folder: Path) -> None:
        found = _find_same_words(ours) if same_words else _find_similar(ours, threshold)
        for name, values in zip(_ARRAYS, found, strict=True):
            np.save(folder / f"{name}.npy", values)

    key = hash_as_json([_VERSION, ours.key, "words" if same_words else threshold])
    folder = cache.get_or_build("near_train", key, write_found)
    rows, neighbours, similarity = (np.load(folder / f"{name}.npy") for name in _ARRAYS)
    return NearTrainRows(rows, neighbours, similarity, same_words)


def _find_same_words(ours: SurveyedCorpus) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    by_words: dict[int, list[int]] = {}
    for _, row in ours.corpus.iter_rows(ours.survey, ("test",)):
        if digest := _hash_words(row.text, row.pair):
            by_words.setdefault(digest, []).append(row.identity)
    neighbours: dict[int, int] = {}
    for _, row in ours.corpus.iter_rows(ours.survey, ("train",)):
        digest = _hash_words(row.text, row.pair)
        for number in by_words.pop(digest, ()):
            neighbours[number] = row.identity
    rows = np.array(sorted(neighbours), dtype=np.int64)
    nearest = np.array([neighbours[number] for number in rows.tolist()], dtype=np.int64)
    return rows, nearest, np.ones(len(rows))


def _hash_words(text: str, pair: str | None) -> int:
    """A hash of the words of both texts; 0 where there are none."""
    parts = [" ".join(find_words(part or "")) for part in (text, pair)]
    return hash_text(*parts) if any(parts) else 0


def _find_similar(
    ours: SurveyedCorpus, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    signer = TextSigner()
    numbers, content = _sign_rows(ours, signer)
    # of rows that are all the same not all pairs are found, so that these are compared once
    held_out, places = np.unique(content, axis=0, return_inverse=True)
    best = np.zeros(len(held_out))
    nearest = np.full(len(held_out), -1, dtype=np.int64)
    block, identities = bytearray(), []
    train = ours.corpus.iter_rows(ours.survey, ("train",))
    for _, row in tqdm(train, desc="compare with train", unit=" texts", delay=1, disable=None):
        block.extend(signer.sign(row.text, row.pair))
        identities.append(row.identity)
        if len(identities) == _BLOCK_ROWS:
            _keep_nearest(best, nearest, held_out, _as_signatures(block), identities, threshold)
            block, identities = bytearray(), []
    _keep_nearest(best, nearest, held_out, _as_signatures(block), identities, threshold)
    places = places.reshape(-1)
    found = np.flatnonzero(nearest[places] >= 0)
    found = found[np.argsort(numbers[found], kind="stable")]
    return numbers[found], nearest[places[found]], best[places[found]]


def _sign_rows(ours: SurveyedCorpus, signer: TextSigner) -> tuple[np.ndarray, np.ndarray]:
    """Numbers [N] and signatures [N, PLACES] of the test rows."""
    numbers, content = [], bytearray()
    for _, row in ours.corpus.iter_rows(ours.survey, ("test",)):
        numbers.append(row.identity)
        content.extend(signer.sign(row.text, row.pair))
    return np.array(numbers, dtype=np.int64), _as_signatures(content)


def _as_signatures(content: bytearray) -> np.ndarray:
    return np.frombuffer(bytes(content), dtype=np.uint16).reshape(-1, PLACES)


def _keep_nearest(
    best: np.ndarray,
    nearest: np.ndarray,
    held_out: np.ndarray,
    block: np.ndarray,
    identities: list[int],
    threshold: float,
) -> None:
    """Update how similar the most similar training row is [N], and its number [N]."""
    signatures = np.concatenate([held_out, block])
    pairs = find_alike_pairs(signatures, threshold, num_held_out=len(held_out))
    pairs = pairs[pairs[:, 1] < len(held_out)]
    similarity = (signatures[pairs[:, 0]] == signatures[pairs[:, 1]]).mean(1)
    # the most similar last, of equal ones the first row of train: the last assignment stays
    order = np.lexsort((-pairs[:, 0], similarity))
    order = order[similarity[order] > best[pairs[order, 1]]]
    first = pairs[order, 1]
    best[first] = similarity[order]
    nearest[first] = np.array(identities, dtype=np.int64)[pairs[order, 0] - len(held_out)]
