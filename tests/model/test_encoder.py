"""Heads, folders and frozen parts, against the plain Hugging Face classes."""

import json

import pytest
import torch
from torch.testing import assert_close

from src.model.encoder import CLASSES, Encoder, opened
from src.terms.fault import Fault

LENGTHS = [9, 20, 1, 17]


def test_token_logits_are_those_of_the_whole_model(family, tiny, laid, twin, padded):
    network = tiny(family)
    plain, encoder, tokens = twin(network), Encoder(network, "masked_lm"), laid(LENGTHS)
    chosen = torch.tensor([0, 8, 9, 28, 29, 30, 46])
    inputs = padded(plain, tokens)
    with torch.no_grad():
        everywhere = plain(**inputs).logits[inputs["attention_mask"].bool()]
        assert_close(encoder.token_logits(encoder.encode(tokens)[chosen]), everywhere[chosen], atol=1e-5, rtol=1e-5)


def test_sequence_logits_are_those_of_the_whole_model(family, tiny, laid, twin, padded):
    changes = {"classifier_pooling": "cls"} if family == "modernbert" else {}
    network = tiny(family, "sequence", **changes)
    plain, encoder, tokens = twin(network), Encoder(network, "sequence"), laid(LENGTHS)
    with torch.no_grad():
        logits = encoder.sequence_logits(encoder.encode(tokens, at="first"))
        assert logits.shape == (4, 3)
        assert_close(logits, plain(**padded(plain, tokens)).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", ["masked_lm", "sequence"])
def test_debertas_newer_head(head, tiny, laid, twin, padded):
    network = tiny("deberta-v2", head, legacy=False)
    plain, encoder, tokens = twin(network), Encoder(network, head), laid([5, 5])
    with torch.no_grad():
        hidden = encoder.encode(tokens)
        ours = (
            encoder.token_logits(hidden)
            if head == "masked_lm"
            else encoder.sequence_logits(encoder.encode(tokens, "first"))
        )
        assert_close(ours, plain(**padded(plain, tokens)).logits.view(ours.shape), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["albert", "bert", "electra"])
def test_the_second_text_of_a_pair_has_a_type_of_its_own(family, tiny, laid, twin, padded):
    network = tiny(family, "sequence")
    plain, encoder, tokens = twin(network), Encoder(network, "sequence"), laid(LENGTHS, pairs=True)
    with torch.no_grad():
        logits = encoder.sequence_logits(encoder.encode(tokens, at="first"))
        assert_close(logits, plain(**padded(plain, tokens)).logits, atol=1e-5, rtol=1e-5)
        single = tokens._replace(types=torch.zeros_like(tokens.types))
        assert not torch.allclose(logits, encoder.sequence_logits(encoder.encode(single, at="first")), atol=1e-3)


@pytest.mark.parametrize("head", ["masked_lm", "sequence"])
def test_a_saved_folder_is_an_ordinary_one(family, head, tiny, laid, padded, tmp_path):
    encoder, tokens = Encoder(tiny(family, head), head), laid(LENGTHS)
    before = encoder.config._attn_implementation
    encoder.save(tmp_path)
    assert encoder.config._attn_implementation == before
    assert "palimpsest" not in (tmp_path / "config.json").read_text()

    plain = CLASSES[head].from_pretrained(tmp_path)
    assert plain.config._attn_implementation != "palimpsest"
    again = opened(tmp_path, head).eval()
    inputs = padded(plain, tokens)

    def logits(of: Encoder) -> torch.Tensor:
        if head == "masked_lm":
            return of.token_logits(of.encode(tokens))
        return of.sequence_logits(of.encode(tokens, at="first"))

    with torch.no_grad():
        theirs = plain(**inputs).logits
        theirs = theirs[inputs["attention_mask"].bool()] if head == "masked_lm" else theirs
        assert_close(theirs, logits(encoder), atol=1e-5, rtol=1e-5)
        assert torch.equal(logits(again), logits(encoder))


def test_a_family_that_is_not_known_is_refused():
    from transformers import AutoConfig

    config = AutoConfig.for_model("gpt2", n_layer=1, n_embd=8, n_head=1, vocab_size=10)
    with pytest.raises(
        Fault, match=r"encoders of the family 'gpt2' are not supported; valid: albert, bert, .*xlm-roberta"
    ):
        Encoder(CLASSES["sequence"].from_config(config), "sequence")


def trained(encoder: Encoder) -> set[str]:
    return {name for name, each in encoder.named_parameters() if each.requires_grad}


EMBEDDINGS = {  # how the names of what lies below the layers begin
    "albert": ("network.albert.embeddings.", "network.albert.encoder.embedding_hidden_mapping_in."),
    "bert": ("network.bert.embeddings.",),
    "distilbert": ("network.distilbert.embeddings.",),
    "electra": ("network.electra.embeddings.", "network.electra.embeddings_project."),
    "modernbert": ("network.model.embeddings.",),
    "roberta": ("network.roberta.embeddings.",),
}
LOWEST = {
    "albert": "network.albert.encoder.albert_layer_groups.0.",
    "bert": "network.bert.encoder.layer.0.",
    "distilbert": "network.distilbert.transformer.layer.0.",
    "electra": "network.electra.encoder.layer.0.",
    "modernbert": "network.model.layers.0.",
    "roberta": "network.roberta.encoder.layer.0.",
}


@pytest.mark.parametrize("family", sorted(EMBEDDINGS))
@pytest.mark.parametrize("what", ["embeddings", 1])
def test_freezing_from_below(family, what, tiny):
    encoder = Encoder(tiny(family, "sequence"), "sequence")
    below = EMBEDDINGS[family] + ((LOWEST[family],) if what == 1 else ())
    everything = trained(encoder)
    expected = {name for name in everything if name.startswith(below)}
    assert all(any(name.startswith(each) for name in expected) for each in below)
    frozen = encoder.freeze(what)
    assert everything - trained(encoder) == expected
    assert sum(len(list(each.parameters())) for each in frozen) == len(expected)


@pytest.mark.parametrize("head", ["masked_lm", "sequence"])
def test_freezing_the_encoder_leaves_the_head(family, head, tiny, laid):
    encoder = Encoder(tiny(family, head), head)
    body = {each for name, each in encoder.network.base_model.named_parameters() if not name.startswith("pooler.")}
    beyond = {name for name, each in encoder.named_parameters() if each not in body}  # word embeddings may be tied
    encoder.freeze("encoder")
    left = trained(encoder)
    assert left == beyond and len(left) >= 1
    tokens = laid([5, 3])
    hidden = encoder.encode(tokens)
    assert not hidden.requires_grad
    logits = (
        encoder.token_logits(hidden)
        if head == "masked_lm"
        else encoder.sequence_logits(encoder.encode(tokens, "first"))
    )
    logits.square().mean().backward()
    assert {name for name, each in encoder.named_parameters() if each.grad is not None} == left


def test_more_layers_than_there_are_cannot_be_frozen(tiny):
    with pytest.raises(Fault, match=r"^model\.freeze: 3 layers are to be frozen, but the encoder has 2$"):
        Encoder(tiny("bert"), "masked_lm").freeze(3)


def test_every_family_has_layers(family, tiny):
    layers = Encoder(tiny(family), "masked_lm").layers()
    assert len(layers) == {"albert": 1, "modernbert": 4}.get(family, 2)


def test_the_head_of_another_task_is_fresh_and_the_body_is_not(tiny, tmp_path):
    """An MLM folder opened for classification; `opened` is for one's own task, but must not mix up the bodies."""
    encoder = Encoder(tiny("bert"), "masked_lm")
    encoder.save(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]
    other = CLASSES["sequence"].from_pretrained(tmp_path)
    assert_close(other.bert.encoder.state_dict(), encoder.network.bert.encoder.state_dict(), atol=0, rtol=0)
