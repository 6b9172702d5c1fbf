"""The lean bodies against transformers' own forward with the same weights: outputs, gradients, what
is left out.
"""

import pytest
import torch
from torch.testing import assert_close

from src.model import fast_encoder
from src.model.attention.ragged_layout import RaggedLayout
from src.model.encoder import Encoder

LAYOUTS = {"rows": ([9, 3, 12, 4, 1, 7], 12), "ragged": ([20, 17, 13, 1], 0)}


@pytest.fixture(params=LAYOUTS)
def tokens(request, laid):
    lengths, row = LAYOUTS[request.param]
    return laid(lengths, row=row)


@pytest.fixture(params=sorted(fast_encoder.FAST_FAMILIES))
def kind(request):
    return request.param


def gradients(encoder, loss):
    encoder.zero_grad()
    loss.backward()
    return {
        name: weight.grad.clone()
        for name, weight in encoder.named_parameters()
        if weight.grad is not None
    }


def assert_same(ours, theirs, **tolerance):
    assert ours.keys() == theirs.keys() and len(ours) > 20
    for name, gradient in ours.items():
        assert_close(
            gradient, theirs[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_as_transformers(encoder, tokens):
    """Hidden states and every gradient."""
    weights = torch.randn(len(tokens.ids), 16)
    assert encoder.uses_fast_path
    ours = encoder.encode(tokens)
    own = gradients(encoder, (ours * weights).mean())
    encoder.uses_fast_path = False
    theirs = encoder.encode(tokens)
    assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert_same(own, gradients(encoder, (theirs * weights).mean()), atol=1e-6, rtol=1e-4)


def test_every_token_and_every_gradient_is_that_of_transformers(kind, tiny, tokens):
    assert_as_transformers(Encoder(tiny(kind), "masked_lm"), tokens)


@pytest.mark.parametrize("count", [2, 3])
def test_the_two_texts_of_a_pair_are_told_apart(count, tiny, laid):
    """By tables of two rows, which are chosen from, and of more, which are looked up."""
    encoder = Encoder(tiny("bert", type_vocab_size=count), "masked_lm")
    assert_as_transformers(encoder, laid([20, 17, 13, 3], pairs=True))


@pytest.mark.parametrize("at", ["first", "some", "as many in each row"])
def test_a_part_of_the_last_layer_is_that_part_of_the_whole(at, kind, tiny, tokens):
    """Values and gradients: what is left out has no influence."""
    encoder = Encoder(tiny(kind), "masked_lm")
    places = tokens.cu_seqlens[:-1].long() if at == "first" else torch.tensor([0, 5, 6, 20, 35])
    if at == "as many in each row":
        places = torch.tensor([0, 11, 12, 17, 25, 30])
        if tokens.row_tokens:
            assert RaggedLayout(tokens).find_row_positions(places).tolist() == [0, 11, 0, 5, 1, 6]
    weights = torch.randn(len(places), 16)
    part = encoder.encode(tokens, at if at == "first" else places)
    own = gradients(encoder, (part * weights).mean())
    whole = encoder.encode(tokens)[places]
    assert_close(part, whole, atol=1e-6, rtol=1e-5)
    assert_same(own, gradients(encoder, (whole * weights).mean()), atol=1e-7, rtol=1e-4)


def test_checkpointing_changes_nothing_but_memory(kind, tiny, tokens):
    encoder = Encoder(tiny(kind), "masked_lm")
    weights = torch.randn(len(tokens.ids), 16)
    plain = gradients(encoder, (encoder.encode(tokens) * weights).mean())
    encoder.set_gradient_checkpointing(True)
    assert_same(
        gradients(encoder, (encoder.encode(tokens) * weights).mean()), plain, atol=0, rtol=0
    )


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "mpnet"])
def test_dropout_is_drawn_again_alike_under_checkpointing(family, tiny, tokens):
    changes = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
    encoder = Encoder(tiny(family, **changes), "masked_lm").train()
    found = []
    for on in (False, True):
        encoder.set_gradient_checkpointing(on)
        torch.manual_seed(3)
        found.append(gradients(encoder, encoder.encode(tokens).square().mean()))
    assert_same(*found, atol=0, rtol=0)


def test_other_families_checkpoint_through_transformers(tiny, tokens):
    encoder = Encoder(tiny("distilbert"), "masked_lm").train()
    encoder.set_gradient_checkpointing(True)
    layers = encoder.network.distilbert.transformer.layer
    assert not encoder.uses_fast_path and all(layer.gradient_checkpointing for layer in layers)


def test_bf16_is_close_in_outputs_and_gradients(kind, tiny, tokens):
    encoder = Encoder(tiny(kind, initializer_range=0.1), "masked_lm")
    weights = torch.randn(len(tokens.ids), 16)
    exact = encoder.encode(tokens)
    theirs = gradients(encoder, (exact * weights).mean())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder.encode(tokens)
    own = gradients(encoder, (rounded.float() * weights).mean())
    assert (rounded - exact).abs().mean() < 0.02
    for name, gradient in own.items():
        assert gradient.dtype == torch.float32
        assert (gradient - theirs[name]).norm() < 0.05 * theirs[name].norm() + 1e-4, name


def test_a_second_text_has_its_own_type(tiny, laid):
    encoder, pairs = Encoder(tiny("bert"), "masked_lm"), laid([9, 6], pairs=True)
    ours = encoder.encode(pairs)
    encoder.uses_fast_path = False
    assert_close(ours, encoder.encode(pairs), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"share_att_key": False},
        {"share_att_key": False, "pos_att_type": ["c2p"], "norm_rel_ebd": "none"},
        {"pos_att_type": ["p2c"], "position_buckets": -1, "max_relative_positions": 6},
        {"pos_att_type": ["c2p"], "max_relative_positions": 12},
        {"position_buckets": 256, "embedding_size": 8, "position_biased_input": True},
        {"pos_att_type": []},
        {"relative_attention": False, "type_vocab_size": 2},
    ],
    ids=str,
)
def test_debertas_of_all_configs(changes, tiny, laid):
    """Texts longer than the distances that are told apart, which here are few."""
    encoder, tokens = Encoder(tiny("deberta-v2", **changes), "masked_lm"), laid([38, 20, 1, 13])
    assert_as_transformers(encoder, tokens)
    encoder.uses_fast_path = True
    places = torch.tensor([0, 37, 40, 58, 71])
    with torch.no_grad():
        whole = encoder.encode(tokens)
        assert_close(encoder.encode(tokens, places), whole[places], atol=1e-6, rtol=1e-5)
        firsts = encoder.encode(tokens, "first")
        assert_close(firsts, whole[tokens.cu_seqlens[:-1].long()], atol=1e-5, rtol=1e-5)


def test_a_deberta_with_a_convolution_runs_padded(tiny, laid, twin, padded):
    """As the largest of DeBERTa-v2; its config alone decides."""
    network, tokens = tiny("deberta-v2", conv_kernel_size=3, conv_act="gelu"), laid([9, 3, 12])
    plain, encoder = twin(network), Encoder(network, "masked_lm")
    inputs = padded(plain, tokens)
    with torch.no_grad():
        expected = plain.base_model(**inputs).last_hidden_state[inputs["attention_mask"].bool()]
        assert not encoder.uses_fast_path
        assert_close(encoder.encode(tokens), expected, atol=1e-5, rtol=1e-5)
