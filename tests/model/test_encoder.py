"""Heads, folders and frozen parts, against the plain Hugging Face classes."""

import json

import pytest
import torch
from torch.testing import assert_close

from src.core.batch import build_tokens
from src.core.user_errors import UserError
from src.model.attention.ragged_layout import mean_pool
from src.model.encoder import Encoder
from src.model.encoder_families import compute_position_ids, first_position_id
from src.model.model_classes import AUTO_MODEL_CLASSES
from src.model.stored_encoder import load_encoder

LENGTHS = [9, 20, 1, 17]


def test_token_logits_are_those_of_the_whole_model(family, tiny, laid, twin, padded):
    network = tiny(family)
    plain, encoder, tokens = twin(network), Encoder(network, "masked_lm"), laid(LENGTHS)
    chosen = torch.tensor([0, 8, 9, 28, 29, 30, 46])
    inputs = padded(plain, tokens)
    with torch.no_grad():
        everywhere = plain(**inputs).logits[inputs["attention_mask"].bool()]
        assert_close(
            encoder.compute_token_logits(encoder.encode(tokens)[chosen]),
            everywhere[chosen],
            atol=1e-5,
            rtol=1e-5,
        )


def test_sequence_logits_are_those_of_the_whole_model(family, tiny, laid, twin, padded):
    network = tiny(family, "sequence")
    plain, encoder, tokens = twin(network), Encoder(network, "sequence"), laid(LENGTHS)
    with torch.no_grad():
        logits = encoder.compute_sequence_logits(encoder.encode(tokens, at="first"))
        assert logits.shape == (4, 3)
        assert_close(logits, plain(**padded(plain, tokens)).logits, atol=1e-5, rtol=1e-5)


@pytest.fixture(params=[True, False], ids=["lean", "through transformers"])
def of_means(request, tiny, twin):
    """A ModernBERT whose sequences are the means of their tokens, and the plain model."""
    network = tiny("modernbert", "sequence", classifier_pooling="mean")
    plain, encoder = twin(network), Encoder(network, "sequence")
    encoder.uses_fast_path = request.param
    return plain, encoder


@pytest.mark.parametrize("lengths", [LENGTHS, [6, 6, 6], [1], [33]], ids=str)
def test_a_mean_over_tokens_is_that_of_transformers(lengths, of_means, laid, padded):
    plain, encoder = of_means
    tokens = laid(lengths)
    weights = torch.randn(len(lengths), 3)
    ours, theirs = (
        encoder.compute_sequence_logits(encoder.encode_sequences(tokens)),
        plain(**padded(plain, tokens)).logits,
    )
    assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    expected = {
        name: weight.grad for name, weight in plain.named_parameters() if weight.grad is not None
    }
    found = {
        name: weight.grad
        for name, weight in encoder.network.named_parameters()
        if weight.grad is not None
    }
    assert found.keys() == expected.keys() and len(found) > 20
    for name, gradient in found.items():
        assert_close(
            gradient,
            expected[name],
            atol=1e-4,
            rtol=1e-3,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def test_a_mean_is_added_up_in_fp32(of_means, laid):
    _, encoder = of_means
    tokens = laid([700, 3])
    states = torch.full((703, 4), 1.0, dtype=torch.bfloat16)
    assert_close(mean_pool(states, tokens), torch.ones(2, 4, dtype=torch.bfloat16), atol=0, rtol=0)
    with torch.no_grad():
        exact = encoder.encode_sequences(laid([17, 8]))
        with torch.autocast("cpu", torch.bfloat16):
            rounded = encoder.encode_sequences(laid([17, 8]))
    assert exact.shape == rounded.shape == (2, 16)


def test_a_mean_stays_one_when_it_is_saved(of_means, laid, padded, tmp_path):
    plain, encoder = of_means
    tokens = laid(LENGTHS)
    encoder.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["classifier_pooling"] == "mean"
    again, theirs = (
        load_encoder(tmp_path, "sequence").eval(),
        AUTO_MODEL_CLASSES["sequence"].from_pretrained(tmp_path).eval(),
    )
    with torch.no_grad():
        expected = plain(**padded(plain, tokens)).logits
        assert_close(
            again.compute_sequence_logits(again.encode_sequences(tokens)),
            expected,
            atol=1e-5,
            rtol=1e-5,
        )
        assert_close(theirs(**padded(plain, tokens)).logits, expected, atol=1e-5, rtol=1e-5)


def test_a_masked_lm_reads_no_means(tiny):
    """Its config may say how a classifier made of it would pool."""
    network = tiny("modernbert", classifier_pooling="mean")
    assert Encoder(network, "masked_lm").pooling == "first"


@pytest.mark.parametrize("head", ["masked_lm", "sequence"])
def test_feed_forward_in_chunks_is_feed_forward(family, head, tiny, laid, twin, padded):
    """transformers divides padded texts by it, here of 8 tokens; ours are flat, of any number."""
    network = tiny(family, head, chunk_size_feed_forward=4)
    plain, encoder, tokens = twin(network), Encoder(network, head), laid([8, 5, 2])
    assert encoder.config.chunk_size_feed_forward == 4
    inputs = padded(plain, tokens)
    with torch.no_grad():
        theirs = plain(**inputs).logits
        if head == "masked_lm":
            theirs, ours = (
                theirs[inputs["attention_mask"].bool()],
                encoder.compute_token_logits(encoder.encode(tokens)),
            )
        else:
            ours = encoder.compute_sequence_logits(encoder.encode_sequences(tokens))
    assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lean", [True, False], ids=["lean", "through transformers"])
@pytest.mark.parametrize("row", [0, 9])
def test_padding_that_a_text_names_itself(row, lean, family, tiny, laid, twin):
    """Its place, those of the tokens behind it, and every gradient: the padding's own rows are not
    learnt.
    """
    network = tiny(family)
    plain, encoder, tokens = twin(network), Encoder(network, "masked_lm"), laid([9, 7, 2, 9])
    encoder.uses_fast_path = encoder.uses_fast_path and lean
    tokens = tokens._replace(row_tokens=row) if row else tokens
    tokens.ids[[1, 2, 5, 9, 15, 17, 26]] = network.config.pad_token_id
    weights = torch.randn(len(tokens.ids), 16)
    alone = [
        plain.base_model(ids[None]).last_hidden_state[0] for ids in tokens.ids.split([9, 7, 2, 9])
    ]
    ours, theirs = encoder.encode(tokens), torch.cat(alone)
    assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    expected = {
        name: weight.grad for name, weight in plain.named_parameters() if weight.grad is not None
    }
    for name, weight in network.named_parameters():
        if weight.grad is not None or name in expected:
            text = lambda text, name=name: f"{name}: {text}"
            assert_close(weight.grad, expected[name], atol=1e-3, rtol=1e-3, msg=text)


def test_positions_of_padding_that_a_text_names_itself(tiny):
    """Padding is 1: [a <pad> b] and [<pad> c d <pad>]."""
    tokens = build_tokens(torch.tensor([7, 1, 8, 1, 9, 9, 1]), torch.tensor([3, 4]))
    for family, expected in {
        "roberta": [2, 1, 3, 1, 2, 3, 1],
        "bert": [0, 1, 2, 0, 1, 2, 3],
    }.items():
        config = tiny(family, pad_token_id=1).config
        assert compute_position_ids(tokens, config).tolist() == expected


@pytest.mark.parametrize(
    "family", ["albert", "bert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet"]
)
def test_an_encoder_without_padding(family, tiny, laid, twin):
    network = tiny(family, pad_token_id=None)
    plain, encoder, tokens = twin(network), Encoder(network, "masked_lm"), laid([9, 4])
    with torch.no_grad():
        alone = [
            plain.base_model(ids[None]).last_hidden_state[0] for ids in tokens.ids.split([9, 4])
        ]
        assert_close(encoder.encode(tokens), torch.cat(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["camembert", "roberta", "xlm-roberta"])
def test_positions_that_are_counted_from_padding_need_one(family, tiny):
    with pytest.raises(UserError) as caught:
        Encoder(tiny(family, pad_token_id=None), "masked_lm")
    assert str(caught.value) == (
        f"model.encoder: pad_token_id is null, but the positions of the family '{family}' are "
        "counted from it; "
        "expected the id of the tokenizer's padding"
    )


def test_mpnets_positions_do_not_depend_on_its_padding(tiny, laid, twin):
    network = tiny("mpnet", pad_token_id=7)
    assert first_position_id(network.config) == 2
    plain, encoder, tokens = twin(network), Encoder(network, "masked_lm"), laid([40])
    with torch.no_grad():
        assert_close(
            encoder.encode(tokens), plain.base_model(tokens.ids[None]).last_hidden_state[0]
        )


def test_a_decoder_is_refused(tiny):
    with pytest.raises(UserError) as caught:
        Encoder(tiny("bert", is_decoder=True), "masked_lm")
    assert str(caught.value) == (
        "model.encoder: is_decoder=true, so its tokens see only those before them; expected an "
        "encoder, whose tokens "
        "see all"
    )


@pytest.mark.parametrize("head", ["masked_lm", "sequence"])
def test_debertas_newer_head(head, tiny, laid, twin, padded):
    network = tiny("deberta-v2", head, legacy=False)
    plain, encoder, tokens = twin(network), Encoder(network, head), laid([5, 5])
    with torch.no_grad():
        hidden = encoder.encode(tokens)
        ours = (
            encoder.compute_token_logits(hidden)
            if head == "masked_lm"
            else encoder.compute_sequence_logits(encoder.encode(tokens, "first"))
        )
        assert_close(
            ours, plain(**padded(plain, tokens)).logits.view(ours.shape), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("family", ["albert", "bert", "electra"])
def test_the_second_text_of_a_pair_has_a_type_of_its_own(family, tiny, laid, twin, padded):
    network = tiny(family, "sequence")
    plain, encoder, tokens = twin(network), Encoder(network, "sequence"), laid(LENGTHS, pairs=True)
    with torch.no_grad():
        logits = encoder.compute_sequence_logits(encoder.encode(tokens, at="first"))
        assert_close(logits, plain(**padded(plain, tokens)).logits, atol=1e-5, rtol=1e-5)
        single = tokens._replace(type_ids=torch.zeros_like(tokens.type_ids))
        assert not torch.allclose(
            logits, encoder.compute_sequence_logits(encoder.encode(single, at="first")), atol=1e-3
        )


@pytest.mark.parametrize("head", ["masked_lm", "sequence"])
def test_a_saved_folder_is_an_ordinary_one(family, head, tiny, laid, padded, tmp_path):
    encoder, tokens = Encoder(tiny(family, head), head), laid(LENGTHS)
    before = encoder.config._attn_implementation
    encoder.save_pretrained(tmp_path)
    assert encoder.config._attn_implementation == before
    assert "palimpsest" not in (tmp_path / "config.json").read_text()

    plain = AUTO_MODEL_CLASSES[head].from_pretrained(tmp_path)
    assert plain.config._attn_implementation != "palimpsest"
    again = load_encoder(tmp_path, head).eval()
    inputs = padded(plain, tokens)

    def logits(of: Encoder) -> torch.Tensor:
        if head == "masked_lm":
            return of.compute_token_logits(of.encode(tokens))
        return of.compute_sequence_logits(of.encode(tokens, at="first"))

    with torch.no_grad():
        theirs = plain(**inputs).logits
        theirs = theirs[inputs["attention_mask"].bool()] if head == "masked_lm" else theirs
        assert_close(theirs, logits(encoder), atol=1e-5, rtol=1e-5)
        assert torch.equal(logits(again), logits(encoder))


def trained(encoder: Encoder) -> set[str]:
    return {name for name, weight in encoder.named_parameters() if weight.requires_grad}


# how the names of what lies below the layers begin
EMBEDDINGS = {
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
    assert all(any(name.startswith(prefix) for name in expected) for prefix in below)
    frozen = encoder.freeze_modules(what)
    assert everything - trained(encoder) == expected
    assert sum(len(list(module.parameters())) for module in frozen) == len(expected)


@pytest.mark.parametrize("head", ["masked_lm", "sequence"])
def test_freezing_the_encoder_leaves_the_head(family, head, tiny, laid):
    encoder = Encoder(tiny(family, head), head)
    body = {
        weight
        for name, weight in encoder.network.base_model.named_parameters()
        if not name.startswith("pooler.")
    }
    # word embeddings may be tied
    beyond = {name for name, weight in encoder.named_parameters() if weight not in body}
    encoder.freeze_modules("encoder")
    left = trained(encoder)
    assert left == beyond and len(left) >= 1
    tokens = laid([5, 3])
    hidden = encoder.encode(tokens)
    assert not hidden.requires_grad
    logits = (
        encoder.compute_token_logits(hidden)
        if head == "masked_lm"
        else encoder.compute_sequence_logits(encoder.encode(tokens, "first"))
    )
    logits.square().mean().backward()
    assert {name for name, weight in encoder.named_parameters() if weight.grad is not None} == left


def test_more_layers_than_there_are_cannot_be_frozen(tiny):
    with pytest.raises(
        UserError, match=r"^model\.freeze: 3 layers are to be frozen, but the encoder has 2$"
    ):
        Encoder(tiny("bert"), "masked_lm").freeze_modules(3)


def test_every_family_has_layers(family, tiny):
    layers = Encoder(tiny(family), "masked_lm").get_layers()
    assert len(layers) == {"albert": 1, "modernbert": 4}.get(family, 2)


def test_the_head_of_another_task_is_fresh_and_the_body_is_not(tiny, tmp_path):
    """An MLM folder opened for classification; `opened` is for one's own task, but must not mix up
    the bodies.
    """
    encoder = Encoder(tiny("bert"), "masked_lm")
    encoder.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [
        "BertForMaskedLM"
    ]
    other = AUTO_MODEL_CLASSES["sequence"].from_pretrained(tmp_path)
    assert_close(
        other.bert.encoder.state_dict(), encoder.network.bert.encoder.state_dict(), atol=0, rtol=0
    )


def test_no_bar_of_the_library_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    logging.enable_progress_bar()
    assert list(logging.tqdm([1, 2], desc="Writing model shards")) == [1, 2]
    told = capsys.readouterr()
    assert told.out == told.err == ""


def test_tag_logits_are_those_of_the_whole_model(family, tiny, laid, twin, padded):
    network = tiny(family, "token_classification")
    plain, encoder = twin(network), Encoder(network, "token_classification")
    tokens = laid(LENGTHS)
    inputs = padded(plain, tokens)
    chosen = torch.tensor([0, 3, len(tokens.ids) - 1])
    with torch.no_grad():
        theirs = plain(**inputs).logits[inputs["attention_mask"].bool()]
        assert_close(encoder.compute_logits(tokens, chosen), theirs[chosen], atol=1e-5, rtol=1e-5)
        assert_close(encoder.compute_logits(tokens), theirs, atol=1e-5, rtol=1e-5)
        assert encoder.compute_logits(tokens, chosen[:0]).shape == (0, 3)
