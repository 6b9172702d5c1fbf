"""Where words begin is told from the vocabulary, for every kind of tokenizer."""

from typing import Any

import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from src.core.user_errors import UserError
from src.data.tokenization.word_joints import JOINS_LEFT, JOINS_RIGHT, find_word_joints

TEXT = "Unbelievable cats don't re-enter café 42nd, naïve dogs! 漢字 かな"
CORPUS = [f"{TEXT} the cat sat un believ able dog 42 enter", "naive cafe unbeliev cats dogs"] * 3


def _train(model: Any, trainer: Any, pre_tokenizer: Any, decoder: Any = None) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizer
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _build(kind: str) -> Tokenizer:
    common = {"show_progress": False, "special_tokens": ["[UNK]"]}
    match kind:
        case "wordpiece":
            return _train(
                models.WordPiece(unk_token="[UNK]"),
                trainers.WordPieceTrainer(vocab_size=75, **common),
                pre_tokenizers.BertPreTokenizer(),
            )
        case "bytes":
            return _train(
                models.BPE(),
                trainers.BpeTrainer(
                    vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **common
                ),
                pre_tokenizers.ByteLevel(add_prefix_space=True),
                decoders.ByteLevel(),
            )
        case "metaspace":
            return _train(
                models.Unigram(),
                trainers.UnigramTrainer(vocab_size=70, unk_token="[UNK]", **common),
                pre_tokenizers.Metaspace(),
                decoders.Metaspace(),
            )
        case "suffix":
            return _train(
                models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"),
                trainers.BpeTrainer(vocab_size=80, end_of_word_suffix="</w>", **common),
                pre_tokenizers.BertPreTokenizer(),
            )
        case _:
            return _train(
                models.WordLevel(unk_token="[UNK]"),
                trainers.WordLevelTrainer(**common),
                pre_tokenizers.BertPreTokenizer(),
            )


def _split_into_words(tokenizer: Tokenizer, text: str) -> list[str]:
    """The text of each word, as the joints of its tokens have it."""
    special = (tokenizer.token_to_id("[UNK]"),)
    joints = find_word_joints(tokenizer, tokenizer.get_vocab_size(), special)
    encoding = tokenizer.encode(text)
    words: list[tuple[int, int]] = []
    before = 0
    for token, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if before & JOINS_RIGHT and joints[token] & JOINS_LEFT:
            words[-1] = (words[-1][0], end)
        else:
            words.append((begin, end))
        before = joints[token]
    return [text[begin:end].strip() for begin, end in words]


WORDS = [
    *("Unbelievable", "cats", "don", "'", "t", "re", "-", "enter", "café", "42nd", ",", "naïve"),
    *("dogs", "!"),
]


@pytest.mark.parametrize("kind", ["wordpiece", "suffix"])
def test_the_words_are_those_of_the_tokenizer_itself(kind: str) -> None:
    tokenizer = _build(kind)
    encoding = tokenizer.encode(TEXT)
    assert len(encoding.ids) > 1.5 * len(set(encoding.word_ids))
    spans = [encoding.word_to_chars(number) for number in sorted(set(encoding.word_ids))]
    assert _split_into_words(tokenizer, TEXT) == [TEXT[begin:end] for begin, end in spans]


@pytest.mark.parametrize("kind", ["wordpiece", "suffix", "bytes", "metaspace", "words"])
def test_the_words_of_a_text(kind: str) -> None:
    tokenizer = _build(kind)
    text = TEXT.partition(" 漢")[0]
    found = _split_into_words(tokenizer, text)
    if kind == "bytes":
        # a mark and the letters behind it may be one token
        found = " ".join(found).replace("'t", "' t").replace("-e", "- e").split()
    assert [word for word in found if word] == WORDS


def test_scripts_without_spaces_have_a_word_for_each_token() -> None:
    tokenizer = _build("metaspace")
    text = "漢字 かな"
    assert len(_split_into_words(tokenizer, text)) >= len(tokenizer.encode(text).ids) - 2


def test_special_and_added_tokens_are_words_of_their_own() -> None:
    tokenizer = _build("bytes")
    tokenizer.add_tokens(["newword"])
    tokenizer.add_special_tokens([AddedToken("[MASK]")])
    joints = find_word_joints(tokenizer, tokenizer.get_vocab_size(), (0,))
    assert [joints[tokenizer.token_to_id(token)] for token in ("[UNK]", "newword", "[MASK]")] == [
        *(0, 0, 0)
    ]


def test_a_vocabulary_without_marks_is_refused() -> None:
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "ab": 2}, merges=[("a", "b")]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UserError, match="does not tell which of its tokens begin a word") as caught:
        find_word_joints(tokenizer, 3, ())
    assert "data.batching.mask_unit" in str(caught.value)
