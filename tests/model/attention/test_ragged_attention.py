"""Sequences laid end to end give what each gives alone; neighbours never show."""

import sys
from itertools import combinations
from types import ModuleType

import pytest
import torch
from torch.testing import assert_close

from src.core.batch import build_tokens
from src.model import fast_encoder
from src.model.attention import (
    attention_bucket,
    ragged_attention,
    ragged_layout,
    relative_attention,
)
from src.model.encoder import Encoder

# Lengths and row of a batch in each of the layouts: several sequences in a packed row, one in each
# (packed or alike), buckets of like lengths (a product each, where lengths differ much), one bucket
# with padding inside the attention.
LAYOUTS = {
    "packed": ([9, 3, 12, 4, 1, 7, 6, 6], 12),
    "full rows": ([12, 12, 12, 12], 12),
    "alike": ([11, 11, 11, 11, 11], 0),
    "buckets": ([20, 20, 13, 12, 1, 17], 0),
    "padding": ([20, 13, 1, 17], 0),
}


@pytest.fixture(params=LAYOUTS)
def way(request, monkeypatch):
    """Lengths and row, with a price of a bucket that makes the short texts of a test lie as the
    name says.
    """
    monkeypatch.setattr(ragged_layout, "_BUCKET_COST", 60 if request.param == "buckets" else 10_000)
    return request.param, *LAYOUTS[request.param]


def test_each_layout_is_what_its_name_says(way, laid):
    name, lengths, row = way
    of = ragged_layout.RaggedLayout(laid(lengths, row=row))
    assert [(bucket.num_rows, bucket.row_length) for bucket in of.buckets] == {
        "packed": [(4, 12)],
        "full rows": [(4, 12)],
        "alike": [(5, 11)],
        "buckets": [(2, 32), (2, 16), (1, 16), (1, 32)],
        "padding": [(4, 32)],
    }[name]
    padded = {"buckets": [True] * 4, "padding": [True]}.get(name, [False])
    assert [bucket.padded_indices is not None for bucket in of.buckets] == padded
    biased = [
        of.get_attention_bias(place, None, torch.zeros(1)) is not None
        for place in range(len(of.buckets))
    ]
    assert biased == ([True] if name == "packed" else padded)


def test_cuts_cost_least():
    """Against every way to cut, for lengths in any order."""

    def cost(lengths: list[int], ends: list[int]) -> int:
        begins = [0, *ends[:-1]]
        return sum(
            ragged_layout._BUCKET_COST + (end - begin) * max(lengths[begin:end]) ** 2
            for begin, end in zip(begins, ends, strict=True)
        )

    for lengths in (
        [200, 190, 90, 80, 30, 7],
        [30] * 6,
        [5, 300, 5, 300, 5],
        [128],
        [500, 499, 498, 60, 60],
    ):
        inner = range(1, len(lengths))
        ways = [
            [*some, len(lengths)]
            for size in range(len(lengths))
            for some in combinations(inner, size)
        ]
        assert cost(lengths, ragged_layout.find_bucket_ends(lengths)) == min(
            cost(lengths, ends) for ends in ways
        )


def test_flat_sequences_equal_the_plain_model_one_by_one(family, way, tiny, laid, twin):
    _, lengths, row = way
    network = tiny(family)
    plain, encoder, tokens = (
        twin(network).base_model,
        Encoder(network, "masked_lm"),
        laid(lengths, row=row),
    )
    with torch.no_grad():
        alone = [
            plain(input_ids=ids[None]).last_hidden_state[0] for ids in tokens.ids.split(lengths)
        ]
        assert_close(encoder.encode(tokens), torch.cat(alone), atol=1e-5, rtol=1e-5)


def as_on_a_gpu(qkv, of, *, scale, dropout=0.0, window=None, rotation=None):
    query, key, value = qkv.unbind(1)
    if rotation is not None:
        query, key = (
            ragged_attention.apply_rotary(states, *(part[:, None] for part in rotation))
            for states in (query, key)
        )
    return ragged_attention._fused_attention(query, key, value, of, scale, dropout, window)


def test_the_fused_product_of_gpus_gives_the_same(way, tiny, laid, monkeypatch):
    _, lengths, row = way
    tokens = laid(lengths, row=row)
    for family in ("bert", "deberta-v2", "modernbert", "mpnet"):
        encoder = Encoder(tiny(family), "masked_lm")
        with torch.no_grad():
            expected = encoder.encode(tokens)
            with monkeypatch.context() as patched:
                # nothing is filled up there
                patched.setattr(fast_encoder, "TOKENS_MULTIPLE", 1)
                patched.setattr(ragged_layout, "find_bucket_ends", lambda lengths: [len(lengths)])
                patched.setattr(ragged_attention, "ragged_attention", as_on_a_gpu)
                patched.setattr(fast_encoder, "ragged_attention", as_on_a_gpu)
                patched.setattr(
                    fast_encoder, "relative_attention", relative_attention._attend_padded
                )
                assert_close(encoder.encode(tokens), expected, atol=1e-5, rtol=1e-5)


def test_a_changed_text_leaves_its_neighbours_alone(family, way, tiny, laid):
    _, lengths, row = way
    encoder, tokens = Encoder(tiny(family), "masked_lm"), laid(lengths, row=row)
    begin, end = tokens.cu_seqlens[1:3].tolist()
    changed = tokens._replace(ids=tokens.ids.clone())
    changed.ids[begin:end] = 5 + (tokens.ids[begin:end] + 1) % 50
    with torch.no_grad():
        before, after = encoder.encode(tokens), encoder.encode(changed)
    others = torch.ones(len(tokens.ids), dtype=torch.bool)
    others[begin:end] = False
    assert_close(after[others], before[others], atol=1e-6, rtol=0)
    assert not torch.allclose(after[begin:end], before[begin:end], atol=1e-2)


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "modernbert", "mpnet"])
def test_gradients_equal_the_plain_models(family, way, tiny, laid, twin, padded):
    _, lengths, row = way
    network = tiny(family)
    plain, encoder, tokens = twin(network), Encoder(network, "masked_lm"), laid(lengths, row=row)
    weights = torch.randn(len(tokens.ids), 16)
    inputs = padded(plain, tokens)
    reference = (
        plain.base_model(**inputs).last_hidden_state[inputs["attention_mask"].bool()] * weights
    ).mean()
    loss = (encoder.encode(tokens) * weights).mean()
    reference.backward()
    loss.backward()
    assert_close(loss, reference, atol=1e-6, rtol=1e-5)
    ours = {
        name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None
    }
    theirs = {
        name: weight.grad for name, weight in plain.named_parameters() if weight.grad is not None
    }
    assert ours.keys() == theirs.keys() and len(ours) > 20
    for name, gradient in ours.items():
        assert_close(
            gradient,
            theirs[name],
            atol=1e-5,
            rtol=1e-3,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def test_long_texts_lie_alone(tiny, laid, twin):
    """The real threshold, and a real ModernBERT window far shorter than the text."""
    network = tiny("modernbert", max_position_embeddings=512, local_attention=64)
    plain, encoder, tokens = (
        twin(network).base_model,
        Encoder(network, "masked_lm"),
        laid([200, 90, 3]),
    )
    assert [bucket.num_rows for bucket in ragged_layout.RaggedLayout(tokens).buckets] == [1, 1, 1]
    with torch.no_grad():
        alone = [
            plain(input_ids=ids[None]).last_hidden_state[0]
            for ids in tokens.ids.split([200, 90, 3])
        ]
        assert_close(encoder.encode(tokens), torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_long_texts_give_what_transformers_gives(tiny, laid, twin):
    """In blocks by their own lengths: the local layers of both texts, the global ones of one."""
    network = tiny("modernbert", max_position_embeddings=3000, local_attention=64)
    plain, lengths = twin(network).base_model, [3000, 1100]
    encoder, tokens = Encoder(network, "masked_lm"), laid(lengths)
    weights = torch.randn(sum(lengths), 16)
    alone = [
        (plain(input_ids=ids[None]).last_hidden_state[0] * own).mean()
        for ids, own in zip(tokens.ids.split(lengths), weights.split(lengths), strict=True)
    ]
    loss = torch.stack(alone).sum()
    loss.backward()
    products = (encoder.encode(tokens) * weights).split(lengths)
    own_loss = torch.stack([product.mean() for product in products]).sum()
    own_loss.backward()
    assert_close(own_loss, loss, atol=1e-6, rtol=1e-4)
    expected = dict(plain.named_parameters())
    for name, weight in network.base_model.named_parameters():
        gradient = expected[name].grad
        assert_close(weight.grad, gradient, atol=1e-4 * float(gradient.abs().max()), rtol=1e-3)


def test_a_window_reaches_as_far_as_transformers_says():
    """|i - j| < 2: each token sees itself and one neighbour on either side."""
    expected = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    bucket = attention_bucket.Bucket(0, 4, 1, 4, None)
    everything = {"rows": slice(None), "positions": torch.arange(4)[None], "keys": slice(None)}
    seen = bucket.build_attention_mask(2, **everything)
    assert seen is not None and seen[0, 0].long().tolist() == expected


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "modernbert", "mpnet"])
def test_bf16_stays_finite_and_close(family, way, tiny, laid):
    _, lengths, row = way
    encoder, tokens = (
        Encoder(tiny(family, initializer_range=0.1), "masked_lm"),
        laid(lengths, row=row),
    )
    expected = encoder.encode(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = encoder.encode(tokens)
    hidden.float().square().mean().backward()
    assert (hidden - expected).abs().mean() < 0.03
    assert all(
        weight.grad.isfinite().all() for weight in encoder.parameters() if weight.grad is not None
    )


def test_dropout_reaches_attention_in_training_only(way, tiny, laid):
    _, lengths, row = way
    encoder, tokens = (
        Encoder(
            tiny("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5), "masked_lm"
        ),
        laid(lengths, row=row),
    )
    with torch.no_grad():
        assert torch.equal(encoder.encode(tokens), encoder.encode(tokens))
        encoder.train()
        assert not torch.allclose(encoder.encode(tokens), encoder.encode(tokens), atol=1e-3)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_attention_that_is_dropped_altogether_gives_nothing(family, tiny, laid):
    """Biases alone are left, and no gradient of what was looked at."""
    names = {"bert": "attention_probs_dropout_prob", "modernbert": "attention_dropout"}
    encoder = Encoder(tiny(family, **{names[family]: 0.99999}), "masked_lm").train()
    encoder.encode(laid([9, 4, 7])).square().mean().backward()
    gradients = {
        name: weight.grad for name, weight in encoder.named_parameters() if weight.grad is not None
    }
    assert len(gradients) > 20 and all(gradient.isfinite().all() for gradient in gradients.values())
    read = [
        gradient
        for name, gradient in gradients.items()
        if "query.weight" in name or "key.weight" in name
    ]
    assert all(not gradient.any() for gradient in read) and (
        len(read) == 4 or family == "modernbert"
    )


def test_a_kernel_without_scale_and_window_is_not_taken(monkeypatch):
    """That of torch 2.10: the first step on a GPU would fail."""
    older, newer = (ModuleType("varlen") for _ in range(2))
    older.varlen_attn = (
        lambda query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False: None
    )
    newer.varlen_attn = lambda query, *others, scale=None, window_size=(-1, -1): None
    for module, taken in ((older, None), (newer, newer.varlen_attn), (None, None)):
        monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", module)
        assert ragged_attention._load_varlen_kernel() is taken


def test_padded_rows_are_not_given_to_cudnn(monkeypatch):
    """It builds a plan for every new shape: a second of a step, where torch would choose it."""
    allowed = []
    real = torch.nn.functional.scaled_dot_product_attention

    def watched(*arguments, **named):
        allowed.append(torch.backends.cuda.cudnn_sdp_enabled())
        return real(*arguments, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    tokens = build_tokens(torch.zeros(5, dtype=torch.int64), torch.tensor([3, 2]))
    query, key, value = torch.randn(3, 5, 2, 4)
    ragged_attention._fused_attention(
        query, key, value, ragged_layout.RaggedLayout(tokens), 0.5, 0.0, None
    )
    assert allowed == [False] and torch.backends.cuda.cudnn_sdp_enabled()
