"""Remembered words: the same ids as the tokenizer gives whole texts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from src.data.tokenization import word_cache as module
from src.data.tokenization.word_cache import WordCache

LETTERS = "abcAB1'.,-<[]=\t\n\r  \x00\x1c\x85\xa0éÉßİſÅ\u0301\u0338\u200b\u2014≠文字ａΣς\ufffd😀"
SPECIAL = ["[PAD]", "[UNK]", "[MASK]"]


def _backend(lowercase: bool = True, **added: Any) -> Tokenizer:
    pieces = [
        *SPECIAL,
        *sorted(set(LETTERS) | set("e字s")),
        "ab",
        "abc",
        "##b",
        "##c",
        "##é",
        "##e",
        "##ab",
        "##1",
    ]
    tokenizer = Tokenizer(
        models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False, **added) for token in SPECIAL]
    )
    return tokenizer


def _plain(backend: Tokenizer, texts: list[str]) -> tuple[list[int], list[int]]:
    rows = [encoding.ids for encoding in backend.encode_batch(texts, add_special_tokens=False)]
    return [token_id for row in rows for token_id in row], [len(row) for row in rows]


BACKENDS = {lowercase: _backend(lowercase) for lowercase in (True, False)}
# words in lengths, as in a vocabulary that is learnt here
BACKENDS[False].pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.FixedLength(3)]
)
# what they remember must not matter
WORDS = {lowercase: WordCache(backend) for lowercase, backend in BACKENDS.items()}
text = (
    st.text(st.sampled_from(LETTERS), max_size=30)
    | st.text(max_size=30)
    | st.sampled_from(["a[MASK]b", "[MASK"])
)


@settings(deadline=None, max_examples=300)
@given(texts=st.lists(text, min_size=1, max_size=5), lowercase=st.booleans())
def test_the_ids_of_whole_texts(texts: list[str], lowercase: bool) -> None:
    ids, lengths = WORDS[lowercase].encode(texts)
    assert (ids.tolist(), lengths.tolist()) == _plain(BACKENDS[lowercase], texts)
    assert (ids.dtype, lengths.dtype) == (np.uint32, np.int64)


def test_more_texts_than_are_looked_up_at_once_and_more_words_than_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TEXTS_PER_LOOKUP", 3)
    monkeypatch.setattr(module, "MAX_CACHED_WORDS", 5)
    backend = BACKENDS[True]
    words = WordCache(backend)
    texts = ["ab abc", "a b c", "abcab, a-b", "", "1 ab", "abc 1 1", "éa"]
    for _ in range(2):
        ids, lengths = words.encode(texts)
        assert (ids.tolist(), lengths.tolist()) == _plain(backend, texts)
        # all forgotten
        assert len(words._numbers) == 0


def test_which_tokenizers_fit() -> None:
    assert WordCache.is_bert_style(_backend())
    in_lengths = _backend()
    steps = [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.FixedLength(3)]
    in_lengths.pre_tokenizer = pre_tokenizers.Sequence(steps)
    assert WordCache.is_bert_style(in_lengths)
    in_lengths.pre_tokenizer = pre_tokenizers.Sequence(steps[::-1])
    assert not WordCache.is_bert_style(in_lengths)
    assert not WordCache.is_bert_style(_backend(lstrip=True))
    assert not WordCache.is_bert_style(_backend(single_word=True))
    split_otherwise = _backend()
    split_otherwise.pre_tokenizer = pre_tokenizers.Whitespace()
    assert not WordCache.is_bert_style(split_otherwise)
    untidied = _backend()
    untidied.normalizer = normalizers.Lowercase()
    assert not WordCache.is_bert_style(untidied)
    assert not WordCache.is_bert_style(Tokenizer(models.BPE()))
    assert not WordCache.is_bert_style(object())
