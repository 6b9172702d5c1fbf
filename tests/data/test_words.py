"""Remembered words: the same ids as the tokenizer gives whole texts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from src.data import words as module
from src.data.words import Words

LETTERS = "abcAB1'.,-<[]=\t\n\r  \x00\x1c\x85\xa0éÉßİſÅ\u0301\u0338\u200b\u2014≠文字ａΣς\ufffd😀"
SPECIAL = ["[PAD]", "[UNK]", "[MASK]"]


def _backend(lowercase: bool = True, **added: Any) -> Tokenizer:
    pieces = [*SPECIAL, *sorted(set(LETTERS) | set("e字s")), "ab", "abc", "##b", "##c", "##é", "##e", "##ab", "##1"]
    tokenizer = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(each, special=True, normalized=False, **added) for each in SPECIAL])
    return tokenizer


def _plain(backend: Tokenizer, texts: list[str]) -> tuple[list[int], list[int]]:
    rows = [each.ids for each in backend.encode_batch(texts, add_special_tokens=False)]
    return [each for row in rows for each in row], [len(row) for row in rows]


BACKENDS = {lowercase: _backend(lowercase) for lowercase in (True, False)}
WORDS = {lowercase: Words(backend) for lowercase, backend in BACKENDS.items()}  # what they remember must not matter
text = st.text(st.sampled_from(LETTERS), max_size=30) | st.text(max_size=30) | st.sampled_from(["a[MASK]b", "[MASK"])


@settings(deadline=None, max_examples=300)
@given(texts=st.lists(text, min_size=1, max_size=5), lowercase=st.booleans())
def test_the_ids_of_whole_texts(texts: list[str], lowercase: bool) -> None:
    ids, lengths = WORDS[lowercase].encode(texts)
    assert (ids.tolist(), lengths.tolist()) == _plain(BACKENDS[lowercase], texts)
    assert (ids.dtype, lengths.dtype) == (np.uint32, np.int64)


def test_more_texts_than_are_looked_up_at_once_and_more_words_than_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TEXTS", 3)
    monkeypatch.setattr(module, "LIMIT", 5)
    backend = BACKENDS[True]
    words = Words(backend)
    texts = ["ab abc", "a b c", "abcab, a-b", "", "1 ab", "abc 1 1", "éa"]
    for _ in range(2):
        ids, lengths = words.encode(texts)
        assert (ids.tolist(), lengths.tolist()) == _plain(backend, texts)
        assert len(words._index) == 0  # all forgotten


def test_which_tokenizers_fit() -> None:
    assert Words.fit(_backend())
    assert not Words.fit(_backend(lstrip=True))
    assert not Words.fit(_backend(single_word=True))
    split_otherwise = _backend()
    split_otherwise.pre_tokenizer = pre_tokenizers.Whitespace()
    assert not Words.fit(split_otherwise)
    untidied = _backend()
    untidied.normalizer = normalizers.Lowercase()
    assert not Words.fit(untidied)
    assert not Words.fit(Tokenizer(models.BPE()))
    assert not Words.fit(object())
