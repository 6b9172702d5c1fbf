"""Entities that a model finds, against transformers' own answers from the folder of the model."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from src.core.batch import Tokens
from src.core.dataset_info import DatasetInfo
from src.data.cache import ContentCache
from src.data.preparation.cleaning import Cleaning
from src.data.rows.token_labels import find_words, join_words
from src.data.tokenization.text_encoder import TextEncoder
from src.data.tokenization.tokenizer import TextTokenizer, WordPiece
from src.model.encoder_config import Pretrained, Scratch
from src.pipeline.export import save_model
from src.pipeline.prediction.predictor import Predictor
from src.pipeline.prediction.word_tagger import WordTagger
from tests.data.test_ids_equal_transformers import LEARNT

NAMES = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
LIMIT = 24


def _facts(tokenizer: TextTokenizer) -> DatasetInfo:
    return DatasetInfo(
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
        special_ids=tokenizer.special_ids,
        max_tokens=LIMIT,
        label_names=NAMES,
        batches_per_epoch=1,
        sample_tokens={},
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    learning = WordPiece(vocab_size=200, min_frequency=1, lowercase=False)
    cache = ContentCache(tmp_path_factory.mktemp("cache"))
    return learning.load_tokenizer(lambda: LEARNT, "texts", cache)


@pytest.fixture(scope="module", params=["bert", "modernbert"])
def folder(
    request: Any, tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What a run leaves, with weights drawn wide."""
    torch.manual_seed(4)
    scratch = Scratch(family=request.param, layers=2, width=16, heads=2, max_tokens=64)
    encoder = scratch.build(
        "token_classification", _facts(tokenizer), NAMES, task="token_classification"
    ).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    inference_config = {
        "task": "token_classification",
        "label_names": NAMES,
        "cleaning": asdict(Cleaning()),
        "max_tokens": LIMIT,
        "truncation": "head",
        "pairs": False,
    }
    target = tmp_path_factory.mktemp("model")
    with save_model(encoder, tokenizer, inference_config) as made:
        for file in made.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
    return target


TEXTS = ["The cat sat on the mat, and the dog sat.", "A naïve café; 12 cats", "GATTACA"]


def test_answers_are_those_of_transformers(folder: Path) -> None:
    """Tags are compared at the first token of each word, entities where words are one token."""
    network = AutoModelForTokenClassification.from_pretrained(folder).eval()
    assert network.config.id2label == dict(enumerate(NAMES))
    theirs = AutoTokenizer.from_pretrained(folder)
    found = Predictor(folder, precision="fp32").predict_texts(TEXTS)
    for text, answer in zip(TEXTS, found, strict=True):
        assert answer is not None and answer.entities is not None
        words = [text[begin:end] for begin, end in find_words(text)]
        inputs = theirs(words, is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            scores = network(**inputs).logits[0].softmax(-1)
        first = [inputs.word_ids().index(number) for number in range(len(words))]
        tags = scores[first].argmax(-1)
        tagged = [NAMES[tag][2:] for tag in tags.tolist() if tag]
        inside = [
            entity.type
            for entity in answer.entities
            for begin, _ in find_words(text)
            if entity.start <= begin < entity.end
        ]
        assert inside == tagged
        for entity in answer.entities:
            assert text[entity.start : entity.end] == entity.text
            likely = [
                float(scores[place, tag])
                for place, tag, (begin, _) in zip(
                    first, tags.tolist(), find_words(text), strict=True
                )
                if entity.start <= begin < entity.end
            ]
            assert entity.score == pytest.approx(sum(likely) / len(likely), abs=2e-5)


def test_a_pipeline_of_transformers_opens_the_folder(folder: Path) -> None:
    answers: Any = pipeline(
        "token-classification", model=str(folder), aggregation_strategy="simple", device="cpu"
    )
    for text in TEXTS:
        for entity in answers(text):
            assert entity["entity_group"] in ("LOC", "PER")
            assert 0 <= entity["start"] < entity["end"] <= len(text)


def test_a_head_goes_on_with_its_labels_in_another_order(
    folder: Path, tokenizer: TextTokenizer
) -> None:
    """As the data of another run have them."""
    names = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    encoder = Pretrained(name_or_path=str(folder)).build(
        "token_classification", _facts(tokenizer), names, task="token_classification"
    )
    stored = AutoModelForTokenClassification.from_pretrained(folder).classifier.weight
    order = [NAMES.index(name) for name in names]
    torch.testing.assert_close(encoder.network.classifier.weight, stored[order])


def _tag_by_id(encoder: TextEncoder, limit: int) -> WordTagger:
    """A tagger that sees an entity in every word, which begins at a capital letter."""

    def compute_logits(tokens: Tokens, at: torch.Tensor) -> torch.Tensor:
        texts = [encoder.backend.id_to_token(int(token)) for token in tokens.ids[at]]
        tags = torch.tensor([1 if text[0].isupper() else 2 for text in texts], dtype=torch.long)
        return 50.0 * torch.nn.functional.one_hot(tags, 3)

    def run_batches(rows: Any, begins: Any, handle: Any) -> None:
        from src.core.batch import build_tokens

        for number, row in enumerate(rows):
            tokens = build_tokens(torch.from_numpy(row), torch.tensor([len(row)]))
            handle(np.array([number]), tokens)

    names = ("O", "B-X", "I-X")
    return WordTagger(encoder, names, limit, compute_logits=compute_logits, run_batches=run_batches)


def test_a_long_text_is_read_in_pieces(tokenizer: TextTokenizer) -> None:
    words = ["The", "cat", "sat", "on", "the", "mat", "The", "dog", "sat"]
    text, spans = join_words(words)
    whole = _tag_by_id(tokenizer.encoder, 64)
    expected = whole.find_entities([text], [spans])
    assert [entity.text for entity in expected[0]] == ["The cat sat on the mat", "The dog sat"]
    assert whole.num_divided == 0
    # some words have several tokens
    cut = _tag_by_id(tokenizer.encoder, 7)
    assert cut.find_entities([text, "The cat"], [spans, ((0, 3), (4, 7))])[0] == expected[0]
    assert cut.num_divided == 1
    # no room for any word: it ends
    assert _tag_by_id(tokenizer.encoder, 2).find_entities([text], [spans]) == [[]]


def test_tags_that_are_no_entities_are_given_for_each_word(tokenizer: TextTokenizer) -> None:
    tagger = _tag_by_id(tokenizer.encoder, 64)
    tagger._label_names = ("NOUN", "DET", "VERB")
    [found] = tagger.find_entities(["The cat"], [((0, 3), (4, 7))])
    assert [(entity.text, entity.type) for entity in found] == [("The", "DET"), ("cat", "VERB")]
    json.dumps([entity._asdict() for entity in found])
