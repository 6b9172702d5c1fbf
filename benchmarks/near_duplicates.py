"""`python -m benchmarks.near_duplicates`: planted near duplicates that are found, and how fast.

100,000 documents of 200 words, drawn as often as words of natural text (Zipf). One in 50 is an
earlier one of which 2 to 20 % of the words are replaced, deleted or followed by a new one. One in
50 shares a paragraph of 60 words with an earlier one and is no duplicate.
"""

import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.setting import write
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.corpus import Corpus
from src.data.preparation.splitting import Split
from src.data.reading.sources import Source

DOCUMENTS = 100_000
WORDS = 200
VOCABULARY = 50_000
PARAGRAPH = 60
PLANTED_SHARE = 0.02
EDIT_RATES = (0.02, 0.20)
BINS = (0.02, 0.05, 0.10, 0.15, 0.20)
# two texts of which a fifth of the words was edited share 0.47 of their pairs of words
THRESHOLDS = (0.4, 0.6, 0.8)
LEAST_RECALL, LEAST_PRECISION, LEAST_SPEED = 0.95, 0.95, 3000


class Found(NamedTuple):
    """What one threshold found; `recalls` is by edit rate."""

    recall: float
    precision: float
    recalls: list[float]
    speed: float


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "documents.jsonl"
        rates = write_documents(file, seed=1)
        read_seconds, _ = survey(file, None)
        found = {threshold: judge(file, rates, threshold) for threshold in THRESHOLDS}
        library = measure_library(file)
    lines = [
        "| data.cleaning.near_duplicates | recall | precision | documents/s | "
        + " | ".join(f"{low:.0%} to {high:.0%} edited" for low, high in _list_bins())
        + " |",
        "| --- |" + " ---: |" * (3 + len(BINS) - 1),
    ]
    for threshold, result in found.items():
        shares = " | ".join(f"{recall:.3f}" for recall in result.recalls)
        lines.append(
            f"| {threshold} | {result.recall:.3f} | {result.precision:.3f} | {result.speed:,.0f} | "
            f"{shares} |"
        )
    first = found[THRESHOLDS[0]]
    good = (
        first.recall >= LEAST_RECALL
        and first.precision >= LEAST_PRECISION
        and first.speed >= LEAST_SPEED
    )
    lines += [
        "",
        f"To reach, at {THRESHOLDS[0]}: recall {LEAST_RECALL}, precision {LEAST_PRECISION}, "
        f"{LEAST_SPEED:,} documents/s on one core: {'reached' if good else '**not reached**'}.",
        "",
        "Documents/s are those of the whole survey, on one core: a file of JSON lines is read, "
        "cleaned and signed, and repeats are found. "
        f"Without near duplicates it is {DOCUMENTS / read_seconds:,.0f}. "
        f"datasketch's `MinHash.update` and `MinHashLSH` by themselves, as its documentation has "
        f"them: {library:,.0f}.",
    ]
    write(
        "near_duplicates",
        "Near duplicates that are found",
        "python -m benchmarks.near_duplicates",
        lines,
    )
    return 0 if good else 1


def write_documents(file: Path, *, seed: int) -> np.ndarray:
    """Write the documents as JSON lines; returns the edit rate of each, 0 for those that are no
    near duplicate.
    """
    random = np.random.default_rng(seed)
    weights = np.cumsum(1 / np.arange(1, VOCABULARY + 1))

    def draw(count: int) -> np.ndarray:
        return np.searchsorted(weights, random.random(count) * weights[-1])

    vocabulary = np.array([f"w{number:x}" for number in range(VOCABULARY)])
    documents: list[np.ndarray] = []
    rates = np.zeros(DOCUMENTS)
    kinds = random.random(DOCUMENTS)
    with file.open("w", encoding="utf-8") as stream:
        for number in range(DOCUMENTS):
            words = draw(WORDS)
            if number > 1000 and kinds[number] < 2 * PLANTED_SHARE:
                # of its documents that are no near duplicate themselves
                earlier = documents[random.choice(np.flatnonzero(rates[:number] == 0))]
                if kinds[number] < PLANTED_SHARE:
                    rates[number] = random.uniform(*EDIT_RATES)
                    words = edit(earlier, rates[number], draw, random)
                else:
                    words[:PARAGRAPH] = earlier[-PARAGRAPH:]
            documents.append(words)
            stream.write(json.dumps({"text": " ".join(vocabulary[words].tolist())}) + "\n")
    return rates


def edit(words: np.ndarray, rate: float, draw: object, random: np.random.Generator) -> np.ndarray:
    """A document of which a share of the words is replaced, deleted or followed by a new one."""
    assert callable(draw)
    places = random.choice(len(words), round(rate * len(words)), replace=False)
    replaced, deleted, followed = np.array_split(places, 3)
    edited = words.copy()
    edited[replaced] = draw(len(replaced))
    pieces = [[word] for word in edited.tolist()]
    for place in deleted:
        pieces[place] = []
    for place, word in zip(followed, draw(len(followed)), strict=True):
        pieces[place].append(int(word))
    return np.array([word for piece in pieces for word in piece])


def survey(file: Path, threshold: float | None) -> tuple[float, np.ndarray]:
    """The processor time of a survey, and which rows were kept."""
    corpus = Corpus(
        task="masked_lm",
        source=Source(path=str(file)),
        cleaning=Cleaning(near_duplicates=threshold),
        split=Split(validation=0),
    )
    began = time.process_time()
    surveyed = corpus.survey_rows()
    return time.process_time() - began, surveyed.places["train"] > 0


def judge(file: Path, rates: np.ndarray, threshold: float) -> Found:
    seconds, kept = survey(file, threshold)
    planted = rates > 0
    recalls = [float((~kept[(rates > low) & (rates <= high)]).mean()) for low, high in _list_bins()]
    return Found(
        recall=float((~kept[planted]).mean()),
        precision=float(planted[~kept].mean()),
        recalls=recalls,
        speed=len(rates) / seconds,
    )


def measure_library(file: Path, count: int = 2000) -> float:
    """Documents a second of datasketch's own interface, which hashes word by word with SHA-1."""
    from datasketch import MinHash, MinHashLSH

    with file.open(encoding="utf-8") as stream:
        texts = [json.loads(next(stream))["text"] for _ in range(count)]
    index = MinHashLSH(threshold=THRESHOLDS[0], num_perm=128)
    began = time.process_time()
    for number, text in enumerate(texts):
        words = text.split()
        minhash = MinHash(num_perm=128)
        minhash.update_batch(f"{first} {second}".encode() for first, second in pairwise(words))
        if not index.query(minhash):
            index.insert(number, minhash)
    return count / (time.process_time() - began)


def _list_bins() -> list[tuple[float, float]]:
    return list(pairwise(BINS))


if __name__ == "__main__":
    sys.exit(main())
