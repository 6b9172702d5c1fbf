"""Which tokens of a vocabulary can go on with a word that the token before them began.

A word is what a reader takes for one: a run of letters and digits between spaces, or a single token
of anything else. What tells them apart is how the vocabulary marks it, whatever the family:
transformers' own `whole_word_mask` looks for `##` alone, and so takes each piece for a word where
pieces are marked otherwise.

Shape legend: V vocabulary.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from src.core.user_errors import UserError

# bits of an entry: the token can go on with the word before it, and can be gone on with
JOINS_LEFT, JOINS_RIGHT = 1, 2
_METASPACE = "▁"
# Scripts that are written without spaces: a token of theirs is a word, as Han characters are to
# BERT. First and last code points; Thai to Tibetan, Myanmar, Khmer, kana, Han, half-width kana.
_UNSPACED = (
    (0x0E00, 0x0FFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x20000, 0x3FFFF),
)
# a byte of a character that is not in the vocabulary (byte fallback)
_BYTE_TOKEN = re.compile("<0x[0-9A-F]{2}>")


def find_word_joints(backend: Any, vocab_size: int, special_ids: tuple[int, ...]) -> np.ndarray:
    """For each id of a fast tokenizer (`tokenizers.Tokenizer`) the bits `JOINS_LEFT` and
    `JOINS_RIGHT`, [V] uint8. Two neighbours are of one word if the first joins to the right and
    the second to the left. Special and added tokens join nothing.

    Raises:
        UserError: the vocabulary does not tell where words begin.
    """
    find_joints = _choose_marks(backend)
    joints = np.zeros(vocab_size, dtype=np.uint8)
    alone = {*special_ids, *backend.get_added_tokens_decoder()}
    vocabulary: Mapping[str, int] = backend.get_vocab(with_added_tokens=False)
    for token, number in vocabulary.items():
        if number not in alone:
            left, right = find_joints(token)
            joints[number] = JOINS_LEFT * left + JOINS_RIGHT * right
    return joints


def _choose_marks(backend: Any) -> Callable[[str], tuple[bool, bool]]:
    """What tells of a token whether it joins to the left and to the right."""
    model = backend.model
    if prefix := getattr(model, "continuing_subword_prefix", None):
        return lambda token: (token.startswith(prefix), True)
    if suffix := getattr(model, "end_of_word_suffix", None):
        return lambda token: (True, not token.endswith(suffix))
    if type(model).__name__ == "WordLevel":
        return lambda token: (False, False)
    # components inside of a sequence show in its text alone
    steps = f"{backend.pre_tokenizer!r} {backend.decoder!r}"
    if "ByteLevel(" in steps:
        from tokenizers import decoders

        decoder = decoders.ByteLevel()
        return lambda token: _join_by_characters(decoder.decode([token]))
    if "Metaspace(" in steps or f'"{_METASPACE}"' in steps:
        return _join_after_metaspace
    raise UserError(
        "the tokenizer does not tell which of its tokens begin a word: its vocabulary has none of "
        "the marks ##, </w>, Ġ and ▁",
        key="data.batching.mask_unit",
        expected="token",
        about=["data.tokenizer"],
    )


def _join_after_metaspace(token: str) -> tuple[bool, bool]:
    if _BYTE_TOKEN.fullmatch(token):
        return True, True
    left, right = _join_by_characters(token)
    # "▁" alone begins the word whose letters follow
    return left, right or token.endswith(_METASPACE)


def _join_by_characters(text: str) -> tuple[bool, bool]:
    return bool(text) and _is_of_word(text[0]), bool(text) and _is_of_word(text[-1])


def _is_of_word(character: str) -> bool:
    """True for a letter, mark or digit of a script with spaces, and for a piece of a character
    (U+FFFD, as bytes decode that are none by themselves).
    """
    if character == "\ufffd":
        return True
    point = ord(character)
    if any(first <= point <= last for first, last in _UNSPACED):
        return False
    return unicodedata.category(character)[0] in "LMN"
