"""The ids of words, remembered: the same as tokenising whole texts, at a fraction of the work.

Most words of a text have been seen before. Looking them up costs less than cutting them into pieces again.
"""

import re
import string
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from src.data.cutting import PIECE, WHITE_SPACE, of_pieces, pieces

LIMIT = 1 << 18  # words remembered, some 50 MB; then all are forgotten, and the frequent ones are soon back
LETTERS = 1 << 23  # of all of them: a script without spaces has long ones
TEXTS = 128  # looked up in one go: few enough that their words stay in the processor's cache

_MARKS = re.escape(string.punctuation)
_words = re.compile(rf"[^ \t\n\r{_MARKS}]+|[{_MARKS}]").findall


class Words:
    """What BERT's tokenizer makes of each word of a text.

    BERT tidies a text letter by letter, parts it at white space and around punctuation marks, and cuts each part into
    pieces by itself (Devlin et al., 2019; `BertNormalizer`, `BertPreTokenizer` and `WordPiece` in `tokenizers`). So the
    ids of a text are those of its words, one after the other, wherever it is parted at ASCII white space and marks;
    what stands between two of these (accents, other scripts, invisible characters) is left to the tokenizer as a whole.
    Only special tokens written out in a text reach across marks ("[MASK]"): such texts are tokenised as they are.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.special = [each.content for each in backend.get_added_tokens_decoder().values()]
        self._spaced = [each for each in self.special if WHITE_SPACE.search(each)]
        self._forget()

    @staticmethod
    def fit(backend: Any) -> bool:
        """Whether this tokenizer (`tokenizers.Tokenizer`) cuts texts in BERT's way."""
        parts = [type(getattr(backend, name, None)).__name__ for name in ("normalizer", "pre_tokenizer", "model")]
        if parts != ["BertNormalizer", "BertPreTokenizer", "WordPiece"]:
            return False
        added = backend.get_added_tokens_decoder().values()
        return not any(each.normalized or each.single_word or each.lstrip or each.rstrip for each in added)

    def _forget(self) -> None:
        self._index: dict[str, int] = {}
        self._letters = 0
        self._pool = np.zeros(0, dtype=np.uint32)  # the ids of all words that are known
        self._starts = np.zeros(1, dtype=np.int64)  # where those of each begin

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts (uint32), without special tokens around them, and how many each has (int64)."""
        if max(map(len, texts)) > PIECE:
            return of_pieces(self._remembered, texts, self._pieces)
        return self._remembered(texts)

    def _remembered(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        parts = [self._encode(texts[begin : begin + TEXTS]) for begin in range(0, len(texts), TEXTS)]
        if len(self._index) > LIMIT or self._letters > LETTERS:
            self._forget()
        return np.concatenate([ids for ids, _ in parts]), np.concatenate([lengths for _, lengths in parts])

    def _pieces(self, text: str) -> Iterable[str]:
        return [text] if any(each in text for each in self._spaced) else pieces(text)

    def _encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        cut = [[text] if any(each in text for each in self.special) else _words(text) for text in texts]
        words = list(chain.from_iterable(cut))
        if unknown := set(words).difference(self._index):
            self._learn(sorted(unknown))
        places = np.fromiter(map(self._index.__getitem__, words), np.int64, len(words))
        begins = self._starts[places]
        lengths = self._starts[places + 1] - begins
        ends = np.zeros(len(words) + 1, dtype=np.int64)
        np.cumsum(lengths, out=ends[1:])
        ids = self._pool[np.arange(ends[-1]) + np.repeat(begins - ends[:-1], lengths)]
        last = np.cumsum(np.fromiter(map(len, cut), np.int64, len(cut)))
        return ids, np.diff(ends[last], prepend=0)

    def _learn(self, words: list[str]) -> None:
        found = [each.ids for each in self.backend.encode_batch_fast(words, add_special_tokens=False)]
        self._letters += sum(map(len, words))
        self._index.update(zip(words, range(len(self._index), len(self._index) + len(words)), strict=True))
        self._pool = np.concatenate((self._pool, np.fromiter(chain.from_iterable(found), np.uint32)))
        ends = self._starts[-1] + np.cumsum(np.fromiter(map(len, found), np.int64, len(found)))
        self._starts = np.concatenate((self._starts, ends))
