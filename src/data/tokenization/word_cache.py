"""Words that were seen before, looked up instead of encoded again."""

import re
import string
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

# ids [T] of all texts (uint32) without special tokens, and how many each text has [N] (int64)
FlatIds = tuple[np.ndarray, np.ndarray]

WHITE_SPACE = re.compile(r"[ \t\n\r]")
# some 50 MB; when there are more, all are forgotten, and the frequent ones are soon back
MAX_CACHED_WORDS = 1 << 18
# of all cached words: a script without spaces has long ones
MAX_CACHED_CHARACTERS = 1 << 23
# looked up in one go: few enough that their words stay in the processor's cache
TEXTS_PER_LOOKUP = 128

_PUNCTUATION = re.escape(string.punctuation)
_find_words: Callable[[str], list[str]] = re.compile(
    rf"[^ \t\n\r{_PUNCTUATION}]+|[{_PUNCTUATION}]"
).findall


class WordCache:
    """The ids of each word of a text, for tokenizers that work as BERT's does.

    BERT normalises a text character by character, parts it at white space and around punctuation
    marks, and cuts each part into pieces by itself (Devlin et al., 2019; `BertNormalizer`,
    `BertPreTokenizer` and `WordPiece` in `tokenizers`). So the ids of a text are those of its
    words, one after the other, wherever it is parted at ASCII white space and marks. That long
    words are cut into lengths (`FixedLength`) changes nothing of this. Whatever
    stands between two of these (accents, other scripts, invisible characters) is left to the
    tokenizer as a whole. Only special tokens that are written out in a text ("[MASK]") reach across
    marks: such texts are encoded whole.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self._special_tokens = [
            token.content for token in backend.get_added_tokens_decoder().values()
        ]
        self._spaced_special_tokens = list(filter(WHITE_SPACE.search, self._special_tokens))
        self._clear()

    @staticmethod
    def is_bert_style(backend: Any) -> bool:
        """True if this tokenizer (`tokenizers.Tokenizer`) cuts texts in BERT's way."""
        normalizer, pre_tokenizer, model = list_component_names(backend)
        if (normalizer, model) != ("BertNormalizer", "WordPiece"):
            return False
        steps = [pre_tokenizer]
        if pre_tokenizer == "Sequence":
            steps = [type(step).__name__ for step in backend.pre_tokenizer]
        if steps not in (["BertPreTokenizer"], ["BertPreTokenizer", "FixedLength"]):
            return False
        return not any(
            token.normalized or token.single_word or token.lstrip or token.rstrip
            for token in backend.get_added_tokens_decoder().values()
        )

    def has_spaced_special_token(self, text: str) -> bool:
        """True if a special token with white space inside is written out in the text, which must
        then not be cut at white space.
        """
        return any(token in text for token in self._spaced_special_tokens)

    def _clear(self) -> None:
        self._numbers: dict[str, int] = {}
        self._characters = 0
        # the ids of all cached words, and where those of each word begin
        self._ids = np.zeros(0, dtype=np.uint32)
        self._starts = np.zeros(1, dtype=np.int64)

    def encode(self, texts: Sequence[str]) -> FlatIds:
        """Ids of all texts, without special tokens around them, and how many each text has."""
        groups = [
            self._encode_group(texts[begin : begin + TEXTS_PER_LOOKUP])
            for begin in range(0, len(texts), TEXTS_PER_LOOKUP)
        ]
        if len(self._numbers) > MAX_CACHED_WORDS or self._characters > MAX_CACHED_CHARACTERS:
            self._clear()
        ids, lengths = zip(*groups, strict=True)
        return np.concatenate(ids), np.concatenate(lengths)

    def _encode_group(self, texts: Sequence[str]) -> FlatIds:
        words_of_texts = [
            [text] if any(token in text for token in self._special_tokens) else _find_words(text)
            for text in texts
        ]
        words = list(chain.from_iterable(words_of_texts))
        if unknown := set(words).difference(self._numbers):
            self._add_words(sorted(unknown))
        numbers = np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words))
        begins = self._starts[numbers]
        lengths = self._starts[numbers + 1] - begins
        ends = np.zeros(len(words) + 1, dtype=np.int64)
        np.cumsum(lengths, out=ends[1:])
        ids = self._ids[np.arange(ends[-1]) + np.repeat(begins - ends[:-1], lengths)]
        counts = np.fromiter(map(len, words_of_texts), np.int64, len(texts))
        return ids, np.diff(ends[np.cumsum(counts)], prepend=0)

    def _add_words(self, words: list[str]) -> None:
        encodings = self.backend.encode_batch_fast(words, add_special_tokens=False)
        rows = [encoding.ids for encoding in encodings]
        self._characters += sum(map(len, words))
        first = len(self._numbers)
        self._numbers.update(zip(words, range(first, first + len(words)), strict=True))
        new_ids = np.fromiter(chain.from_iterable(rows), np.uint32)
        self._ids = np.concatenate((self._ids, new_ids))
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        self._starts = np.concatenate((self._starts, self._starts[-1] + np.cumsum(lengths)))


def list_component_names(backend: Any) -> list[str]:
    """Class names of a tokenizer's normalizer, pre-tokenizer and model."""
    components = ("normalizer", "pre_tokenizer", "model")
    return [type(getattr(backend, name, None)).__name__ for name in components]
