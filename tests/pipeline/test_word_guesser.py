"""What a masked language model names for the words of a text, beside transformers by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer, BertTokenizer

from src.core.user_errors import UserError
from src.data.batches.augmentation import find_word_spans
from src.pipeline.word_guesser import MaskedWordGuesser, check_masked_lm

WORDS = ["a", "good", "bad", "film", "movie", "story", "was", "is", "very", "and", "the"]
WORDS += ["it", "so"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", "7", "-", "."]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    config = AutoConfig.for_model(
        "bert",
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        initializer_range=0.5,
    )
    AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
    BertTokenizer(vocab=dict(zip(VOCABULARY, range(99), strict=False))).save_pretrained(tmp_path)
    return tmp_path


def test_candidates_are_those_of_transformers(folder: Path) -> None:
    """Words with the same remainder of seven are masked together."""
    texts = ["A good film, and the story was very bad. It is so!", "", "7 movies"]
    spans = [find_word_spans(text) for text in texts]
    guesser = MaskedWordGuesser(str(folder), 4)
    found = [*guesser.guess(texts, spans)]
    assert [numbers.shape for numbers, _ in found] == [(12, 4), (0, 4), (2, 4)]
    network = AutoModelForMaskedLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    numbers, shares = found[0]
    # words 1 and 8 are masked together, as are 3 and 10
    both = "A [MASK] film, and the story was very [MASK]. It is so!"
    third = "A good film, [MASK] the story was very bad. It [MASK] so!"
    for place, masked, number in ((1, both, 0), (8, both, 1), (3, third, 0), (10, third, 1)):
        inputs = tokenizer(masked, return_tensors="pt")
        at = (inputs.input_ids[0] == tokenizer.mask_token_id).nonzero()[number]
        with torch.no_grad():
            logits = network(**inputs).logits[0, at[0]]
        begin, end = spans[0][place]
        word = texts[0][begin:end].lower()
        allowed = [VOCABULARY.index(other) for other in WORDS if other != word]
        best = logits[allowed].topk(4)
        assert numbers[place].tolist() == [allowed[index] for index in best.indices]
        assert shares[place] == pytest.approx(best.values.softmax(0).numpy(), abs=1e-5)
    assert all(guesser.vocabulary[number] in WORDS for number in numbers.ravel())
    # a number has none, and a word that the vocabulary has in pieces has some
    assert not found[2][1][0].any() and found[2][1][1].sum() == pytest.approx(1)


def test_words_behind_the_longest_text_have_none(folder: Path) -> None:
    text = " ".join(["good"] * 40)
    [(_, shares)] = MaskedWordGuesser(str(folder), 2).guess([text], [find_word_spans(text)])
    assert np.flatnonzero(shares[:, 0]).tolist() == [*range(22)]
    [(_, shares)] = MaskedWordGuesser(str(folder), 2).guess(
        ["a [MASK] film"], [find_word_spans("a [MASK] film")]
    )
    assert not shares.any()


def test_the_weights_are_part_of_the_fingerprint(folder: Path) -> None:
    first = MaskedWordGuesser(str(folder), 2).fingerprint
    assert MaskedWordGuesser(str(folder), 3).fingerprint == first
    network = AutoModelForMaskedLM.from_pretrained(folder)
    network.bert.embeddings.word_embeddings.weight.data[0, 0] += 1
    network.save_pretrained(folder)
    assert MaskedWordGuesser(str(folder), 2).fingerprint != first


def test_what_is_no_masked_language_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(UserError, match=r"'gpt2' cannot do this"):
        check_masked_lm(str(tmp_path))
