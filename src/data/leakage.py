"""Leakage: held-out rows whose texts the model has seen in training, in the run's own training
rows or in those of the earlier runs whose encoder it took.
"""

from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src.data.cache import ContentCache
from src.data.preparation.cleaning import DigestSet, hash_text
from src.data.preparation.near_duplicates import PLACES, TextSigner, find_alike_pairs
from src.data.preparation.splitting import SPLITS
from src.data.surveyed_corpus import SurveyedCorpus, hash_as_json

HELD_OUT_SPLITS = tuple(split for split in SPLITS if split != "train")
# Earlier corpora with more letters are not looked through: that would take minutes.
MOST_LETTERS = 2_000_000_000
_VERSION = 1
# Rows of an earlier corpus whose signatures are compared at a time: 16 MB.
_BLOCK_ROWS = 1 << 16


def find_repeated_rows(
    ours: SurveyedCorpus, earlier: SurveyedCorpus, cache: ContentCache
) -> dict[str, np.ndarray]:
    """Which held-out rows stand among the training rows of an earlier corpus.

    The texts of both are compared as our cleaning leaves them. A pair stands there if both of its
    texts do.

    Returns:
        For each of our held-out splits and each of its rows: 2 if the row stands there, 1 if it
        nearly does, else 0 [rows] uint8. Nearly equal rows are looked for if our cleaning does.
    """

    def write_found(folder: Path) -> None:
        exact = _find_equal_rows(ours, earlier)
        near = _find_near_rows(ours, earlier) if ours.corpus.cleaning.near_duplicates else {}
        for split, found in exact.items():
            levels = 2 * found.astype(np.uint8)
            np.save(folder / f"{split}.npy", np.maximum(levels, near.get(split, 0)))

    key = hash_as_json([_VERSION, ours.key, earlier.key])
    folder = cache.get_or_build("leakage", key, write_found)
    return {
        split: np.load(file)
        for split in HELD_OUT_SPLITS
        if (file := folder / f"{split}.npy").is_file()
    }


def _iter_texts(ours: SurveyedCorpus, earlier: SurveyedCorpus) -> Iterator[tuple[str, str | None]]:
    """Iterate over the training rows of the earlier corpus, cleaned as ours are."""
    cleaning = ours.corpus.cleaning
    rows = earlier.corpus.iter_raw_rows(earlier.survey, ("train",))
    for _, _, _, record in tqdm(
        rows, desc="look for leakage", unit=" texts", delay=1, disable=None
    ):
        text, pair, *_ = cleaning.normalize_record(record)
        yield text, pair


def _find_equal_rows(ours: SurveyedCorpus, earlier: SurveyedCorpus) -> dict[str, np.ndarray]:
    wanted, there = DigestSet(), DigestSet()
    # of both texts of each row; 0 where there is no second one
    digests: dict[str, array[int]] = {}
    for split, row in ours.corpus.iter_rows(ours.survey, HELD_OUT_SPLITS):
        for text in (row.text, row.pair):
            digest = 0 if text is None else hash_text(text)
            digests.setdefault(split, array("Q")).append(digest)
            if digest:
                wanted.add(digest)
    for texts in _iter_texts(ours, earlier):
        for text in texts:
            if text is not None and (digest := hash_text(text)) in wanted:
                there.add(digest)
    found = {}
    for split, mine in digests.items():
        stands = np.array([not digest or digest in there for digest in mine], dtype=bool)
        found[split] = stands[0::2] & stands[1::2]
    return found


def _find_near_rows(ours: SurveyedCorpus, earlier: SurveyedCorpus) -> dict[str, np.ndarray]:
    """The same for nearly equal rows. A pair is compared with pairs."""
    threshold = ours.corpus.cleaning.near_duplicates
    assert threshold is not None
    signer, signatures = TextSigner(), bytearray()
    splits: list[str] = []
    for split, row in ours.corpus.iter_rows(ours.survey, HELD_OUT_SPLITS):
        signatures.extend(signer.sign(row.text, row.pair))
        splits.append(split)
    found = np.zeros(len(splits), dtype=bool)
    held_out = _as_signatures(signatures)
    block = bytearray()
    for text, pair in _iter_texts(ours, earlier):
        block.extend(signer.sign(text, pair))
        if len(block) == _BLOCK_ROWS * PLACES * held_out.itemsize:
            _mark_near_rows(found, held_out, block, threshold)
            block.clear()
    _mark_near_rows(found, held_out, block, threshold)
    names = np.array(splits)
    return {split: found[names == split] for split in set(splits)}


def _mark_near_rows(
    found: np.ndarray, held_out: np.ndarray, block: bytearray, threshold: float
) -> None:
    signatures = np.concatenate([held_out, _as_signatures(bytes(block))])
    pairs = find_alike_pairs(signatures, threshold, num_held_out=len(held_out))
    found[pairs[pairs[:, 1] < len(held_out), 1]] = True


def _as_signatures(content: bytes | bytearray) -> np.ndarray:
    return np.frombuffer(content, dtype=np.uint16).reshape(-1, PLACES)
