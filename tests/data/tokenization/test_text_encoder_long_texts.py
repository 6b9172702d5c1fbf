"""Long texts in pieces: the same ids as in one piece, in memory that no length changes much."""

import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from src.data.preparation.cleaning import Cleaning
from src.data.rows.records import RawRecord
from src.data.tokenization import text_encoder, word_cache
from src.data.tokenization.text_encoder import TextEncoder, find_split_pattern, split_text

LETTERS = "abcAB1'.,-<[] \t\n\r  \x00\x1c\x85\xa0éÉßİ\u0301\u0338\u200b≠文字Σς😀"
SPECIAL = ["[CLS]", "[SEP]", "[UNK]", "[MASK]", "[A B]"]


def bert() -> Tokenizer:
    letters = sorted(set(LETTERS) | set("esi字"))
    vocabulary = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), "ab", "abc", "##bc"]
    tokenizer = Tokenizer(
        models.WordPiece({piece: at for at, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer, tokenizer.pre_tokenizer = (
        normalizers.BertNormalizer(),
        pre_tokenizers.BertPreTokenizer(),
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    )
    return framed(tokenizer)


def byte_level(normalizer: Any = None, **added: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=SPECIAL[:3],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["a bab abba abc cab 'll 11 a  b   c, ., é É 文字 文"] * 9, trainer
    )
    tokenizer.add_special_tokens(
        [AddedToken("[MASK]", special=True, **({"lstrip": True} | added)), AddedToken("  ")]
    )
    return framed(tokenizer)


def framed(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


BACKENDS = {"bert": bert(), "bytes": byte_level(), "composed": byte_level(normalizers.NFC())}
ENCODERS = {name: TextEncoder(backend) for name, backend in BACKENDS.items()}
text = st.text(st.sampled_from(LETTERS), max_size=60) | st.text(max_size=40)
marked = st.lists(
    text | st.sampled_from(["[MASK]", "[A B]", " [MASK] ", "[MASK", "ab abc"]), max_size=6
).map("".join)


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=200, deadline=None)
@given(texts=st.lists(marked, min_size=1, max_size=4), size=st.integers(1, 12))
def test_pieces_give_the_ids_of_the_whole(name: str, texts: list[str], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_encoder, "PIECE_CHARACTERS", size)
        patch.setattr(split_text, "__defaults__", (word_cache.WHITE_SPACE, size))
        patch.setattr(text_encoder, "PIECE_BATCH_CHARACTERS", 3 * size)
        ids, lengths, *_ = ENCODERS[name].encode(texts, None, None, "head")
    expected = [text_encoder.ids for text_encoder in BACKENDS[name].encode_batch(texts)]
    assert lengths.tolist() == [len(row) for row in expected]
    assert ids.tolist() == [token_id for row in expected for token_id in row]


@given(text=text, size=st.integers(1, 9))
def test_pieces_are_the_text(text: str, size: int) -> None:
    found = list(split_text(text, size=size))
    assert "".join(found) == text
    assert all(len(piece) >= size and after[0] in " \t\n\r" for piece, after in pairwise(found))


def test_which_tokenizers_may_be_given_pieces() -> None:
    assert find_split_pattern(byte_level()) is not None
    # its words are remembered
    assert find_split_pattern(bert()) is None
    assert find_split_pattern(byte_level(rstrip=True)) is None
    assert find_split_pattern(byte_level(normalizers.Prepend("x"))) is None
    spaced = byte_level()
    spaced.add_tokens(["a b"])
    assert find_split_pattern(spaced) is None
    whole = byte_level()
    whole.pre_tokenizer = pre_tokenizers.Metaspace()
    assert find_split_pattern(whole) is None
    assert find_split_pattern(object()) is None


@given(text=text, size=st.integers(1, 9))
def test_white_space_of_long_texts(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.data.preparation.text_cleaning._LONG_TEXT_CHARACTERS", size)
        record = Cleaning(whitespace=True).normalize_record(RawRecord(text, None, None, "here"))
    assert record.text == " ".join(text.split())


def test_a_long_text_takes_a_few_times_its_size() -> None:
    """In one piece it takes 40 times its size."""
    long = "abc ab, " * 500_000
    encoder = TextEncoder(BACKENDS["bert"])
    encoder.encode(["abc ab"], None, None, "head")
    tracemalloc.start()
    try:
        ids = encoder.encode([long], None, None, "head").ids
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(ids) > 1_500_000
    assert peak < 6 * len(long) + (64 << 20)


def test_a_script_without_spaces_is_not_remembered_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(word_cache, "MAX_CACHED_CHARACTERS", 100)
    found = word_cache.WordCache(BACKENDS["bert"])
    found.encode(["文" * 60, "字" * 60])
    assert not found._numbers
