"""The tokens of a vocabulary that a denoising autoencoder needs: those that stand for a span, those
that end a sentence, and the special ones around a text.
"""

import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from src.core.user_errors import UserError
from src.data.tokenization.special_frame import find_frame

if TYPE_CHECKING:
    from src.data.tokenization.tokenizer import TextTokenizer

# T5's name of a token that stands for the first span, the second, ... (Raffel et al., 2020)
_SENTINEL_PATTERN = re.compile(r"<extra_id_(\d+)>")
# how vocabularies mark that a token begins a word, goes on with one, or ends it
_WORD_MARK_PATTERN = re.compile(r"^(##|Ġ|▁)|</w>$")
_SENTENCE_ENDS = frozenset((".", "!", "?", "...", "…", "。", "！", "？", "।", "۔", "؟"))


@functools.lru_cache(maxsize=4)
def find_sentinels(tokenizer: "TextTokenizer") -> np.ndarray:
    """The tokens that stand for the first span, the second, ...; none where there are none."""
    numbered = [
        (int(match[1]), token_id)
        for token, token_id in tokenizer.backend.get_vocab().items()
        if (match := _SENTINEL_PATTERN.fullmatch(token))
    ]
    return np.array([token_id for _, token_id in sorted(numbered)], dtype=np.int64)


@functools.lru_cache(maxsize=4)
def find_sentence_ends(tokenizer: "TextTokenizer") -> np.ndarray:
    """[V] true for full stops and their like. An abbreviation's full stop is one too."""
    is_end = np.zeros(tokenizer.vocab_size, dtype=bool)
    for token, token_id in tokenizer.backend.get_vocab().items():
        is_end[token_id] = _WORD_MARK_PATTERN.sub("", token) in _SENTENCE_ENDS
    return is_end


@functools.lru_cache(maxsize=4)
def find_text_frame(tokenizer: "TextTokenizer") -> tuple[np.ndarray, np.ndarray]:
    """The special tokens before a text, none or one, and the one behind it.

    Raises UserError if there are others.
    """
    frame = find_frame(tokenizer.backend, 1)
    if frame is None or len(frame.ids[0]) > 1 or len(frame.ids[1]) != 1:
        raise UserError(
            "it does not put one end token behind a text, by which a decoder learns to stop",
            key="data.tokenizer",
            expected="one that does, such as BART's, T5's or a learnt one",
        )
    before, behind = frame.ids
    return np.array(before, dtype=np.int64), np.array(behind, dtype=np.int64)
