"""Words that a masked language model puts in the place of each word of the training texts: found
once and kept in files, so that an epoch only has to choose.

Shape legend: N rows, S words of all texts, C candidates of a word.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from src.core.formatting import format_count
from src.core.notices import Notices
from src.data.batches.augmentation import MASKED_LM_KEY, Augmentation, find_word_spans
from src.data.cache import ContentCache
from src.data.tokenization.text_store import TextStore

# texts that are given to the model in one go
_TEXTS_PER_CALL = 64


class WordGuesser(Protocol):
    """A masked language model, as it is used here.

    Attributes:
        fingerprint: a hash of all that decides its answers.
        vocabulary: the words that it can answer with, by number.
    """

    fingerprint: str
    vocabulary: Sequence[str]

    def guess(
        self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each text the numbers of the likeliest other words [S, C] at places of it, likeliest
        first, and their shares [S, C] of the probability of all C; 0 where there are none.

        Args:
            spans: where each of these places begins and ends in the text; nothing is wanted for one
                that is empty.
        """


# by a folder or hub name, and how many candidates it names for each word
LoadGuesser = Callable[[str, int], WordGuesser]


@dataclass(frozen=True, eq=False)
class Substitutes:
    """The candidates for all words of the training texts, opened for reading."""

    vocabulary: Sequence[str]
    offsets: np.ndarray  # [2 N + 1] int64, where the words of each text and second text begin
    numbers: np.ndarray  # [S, C] int32, in the vocabulary
    ends: np.ndarray  # [S, C] float32, the shares of the candidates up to each
    num_words: int  # of which letters could be replaced
    num_with_candidates: int

    def choose(self, row: int, part: int, word: int, share: float) -> str | None:
        """One of the candidates for a word, drawn by its probability; None if there are none.

        Args:
            part: 1 for the second text of a pair, else 0.
            word: its number in the text.
            share: from 0 to 1, which decides.
        """
        place = int(self.offsets[2 * row + part]) + word
        ends = self.ends[place]
        if not ends[-1]:
            return None
        number = min(int(ends.searchsorted(share, side="right")), len(ends) - 1)
        return self.vocabulary[self.numbers[place, number]]

    def describe(self) -> Notices:
        """For how many of the words there are candidates, for the screen and the record."""
        return Notices(
            (
                f"other words for {format_count(self.num_with_candidates)} of "
                f"{format_count(self.num_words)} words of the training texts ({MASKED_LM_KEY})",
            ),
            {
                "data/augmentation/words": str(self.num_words),
                "data/augmentation/words_with_candidates": str(self.num_with_candidates),
            },
        )

    @classmethod
    def open(cls, folder: Path) -> "Substitutes":
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        return cls(
            vocabulary=about["vocabulary"],
            offsets=np.load(folder / "offsets.npy"),
            numbers=_map_rows(folder / "numbers.bin", np.int32, about["candidates"]),
            ends=_map_rows(folder / "ends.bin", np.float32, about["candidates"]),
            num_words=about["words"],
            num_with_candidates=about["with_candidates"],
        )


def _map_rows(file: Path, dtype: type[np.generic], width: int) -> np.ndarray:
    if not file.stat().st_size:
        # an empty file cannot be mapped
        return np.zeros((0, width), dtype)
    return np.memmap(file, dtype=dtype, mode="r").view(np.ndarray).reshape(-1, width)


def write_substitutes(
    folder: Path, texts: TextStore, guesser: WordGuesser, candidates: int
) -> None:
    """Have so many candidates found for all words, and write them."""
    from tqdm import tqdm

    num_rows = len(texts.offsets) // 2
    counts, num_words, num_known = [0], 0, 0
    with (
        tqdm(total=num_rows, desc="guess words", unit=" texts", delay=1, disable=None) as bar,
        (folder / "numbers.bin").open("wb") as numbers_file,
        (folder / "ends.bin").open("wb") as ends_file,
    ):
        for begin in range(0, num_rows, _TEXTS_PER_CALL):
            rows = range(begin, min(begin + _TEXTS_PER_CALL, num_rows))
            both = [text for row in rows for text in texts.read_row(row)]
            spans = [find_word_spans(text) for text in both]
            num_words += sum(first < last for places in spans for first, last in places)
            for numbers, shares in guesser.guess(both, spans):
                ends = shares.astype(np.float32).cumsum(1)
                counts.append(len(numbers))
                num_known += int(np.count_nonzero(ends[:, -1]))
                numbers_file.write(numbers.astype(np.int32).tobytes())
                ends_file.write(ends.tobytes())
            bar.update(len(rows))
    np.save(folder / "offsets.npy", np.cumsum(counts))
    about = {
        "vocabulary": list(guesser.vocabulary),
        "candidates": candidates,
        "words": num_words,
        "with_candidates": num_known,
    }
    (folder / "about.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def open_substitutes(
    augmentation: Augmentation | None,
    open_texts: Callable[[], TextStore],
    rows_key: str,
    cache: ContentCache,
    load_guesser: LoadGuesser | None,
) -> Substitutes | None:
    """The candidates for the words of the training texts, from the cache or found now; None where
    no masked language model is wanted, or none can be loaded here.

    Args:
        rows_key: a hash of all that decides the texts.
    """
    if augmentation is None or augmentation.masked_lm is None or load_guesser is None:
        return None
    count = augmentation.masked_lm_candidates
    guesser = load_guesser(augmentation.masked_lm, count)
    content = json.dumps([rows_key, guesser.fingerprint, count, "substitutes-1"])
    folder = cache.get_or_build(
        "substitutes",
        hashlib.sha256(content.encode()).hexdigest(),
        lambda folder: write_substitutes(folder, open_texts(), guesser, count),
    )
    return Substitutes.open(folder)
