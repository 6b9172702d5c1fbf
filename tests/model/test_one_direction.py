"""Families that read in both directions, kept to one for causal language modelling: against
attention of triangles, transformers' own causal classes, and by what a later token may not change.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from src.core.batch import MaskedBatch, NextTokenBatch, Tokens, build_tokens
from src.core.user_errors import UserError
from src.model import fast_encoder
from src.model.attention import attention_blocks, cpu_attention, ragged_layout
from src.model.attention import ragged_attention as ragged_attention_module
from src.model.attention.ragged_attention import (
    _fused_attention,
    ragged_attention,
    ragged_attention_of_selected,
)
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained, Scratch
from src.model.model_classes import find_model_class
from src.model.objectives.causal_lm import CausalLM
from src.model.objectives.masked_lm import MaskedLM
from src.model.reading_direction import check_kept_direction
from src.model.stored_encoder import load_encoder

# those of transformers' causal classes, by which such a folder opens as what it is
KEPT = ("bert", "camembert", "electra", "roberta", "xlm-roberta")
LENGTHS = {"packed rows": ([9, 3, 12, 4, 1, 7], 12), "texts": ([20, 17, 13, 1], 0)}


@pytest.fixture(params=LENGTHS)
def tokens(request, laid) -> Tokens:
    lengths, row = LENGTHS[request.param]
    return laid(lengths, row=row)


def _build(tiny, family: str, **changes) -> Encoder:
    return Encoder(tiny(family, "causal_lm", is_decoder=True, **changes), "causal_lm")


def _follow(tokens: Tokens) -> NextTokenBatch:
    """Each token that has a next one in its text."""
    at = torch.arange(len(tokens.ids) - 1)[tokens.positions[1:] > 0]
    return NextTokenBatch(tokens, at, tokens.ids[at + 1])


def _attend_naively(qkv: Tensor, tokens: Tokens, window: int | None) -> Tensor:
    """One text and one token after the other, over the keys up to it."""
    answers = []
    for text in qkv.split(tokens.cu_seqlens.diff().tolist()):
        query, key, value = text.unbind(1)
        for place in range(len(text)):
            seen = slice(0 if window is None else max(0, place - window + 1), place + 1)
            scores = torch.einsum("he,khe->hk", query[place], key[seen]) * 0.5
            answers.append(torch.einsum("hk,khe->he", scores.softmax(-1), value[seen]))
    return torch.stack(answers)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("in_blocks", [False, True])
def test_attention_is_a_triangle_in_each_text(window, in_blocks, tokens, monkeypatch) -> None:
    if in_blocks:
        for name in ("_LOCAL_QUERIES", "_GLOBAL_QUERIES", "_KEYS_MULTIPLE"):
            monkeypatch.setattr(attention_blocks, name, 4)
        for module in (cpu_attention, ragged_attention_module):
            monkeypatch.setattr(module, "prefer_blocks", lambda *_, **__: True)
    qkv = torch.randn(len(tokens.ids), 3, 2, 4, dtype=torch.float64, requires_grad=True)
    layout = ragged_layout.RaggedLayout(tokens, is_causal=True)
    found = ragged_attention(qkv, layout, scale=0.5, window=window)
    expected = _attend_naively(qkv, tokens, window)
    assert_close(found, expected)
    weights = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad((x * weights).sum(), qkv)[0] for x in (found, expected))
    assert_close(ours, theirs)
    with torch.no_grad():
        assert_close(ragged_attention(qkv, layout, scale=0.5, window=window), expected)
        # as on a GPU
        if len(layout.buckets) == 1:
            assert_close(_fused_attention(*qkv.unbind(1), layout, 0.5, 0.0, window), expected)
    if tokens.row_tokens:
        at = torch.tensor([0, 11, 12, 17, 25, 30])
        where = layout.find_row_positions(at)
        assert where is not None
        some = ragged_attention_of_selected(
            qkv[at, 0], qkv[:, 1:], where, layout, scale=0.5, window=window
        )
        assert_close(some, expected[at])


def test_no_answer_depends_on_a_later_token_or_another_text(family, tiny, tokens) -> None:
    encoder = _build(tiny, family)
    # the fourth token of the first text
    changed = tokens._replace(ids=tokens.ids.clone())
    changed.ids[3] = 5 + (tokens.ids[3] - 4) % 55
    ways = (True, False) if encoder.supports_packing and encoder.uses_fast_path else (None,)
    for is_fast in ways:
        if is_fast is not None:
            encoder.uses_fast_path = is_fast
        with torch.no_grad():
            before, after = encoder.compute_logits(tokens), encoder.compute_logits(changed)
            first = int(tokens.cu_seqlens[1])
            assert_close(before[:3], after[:3], atol=1e-5, rtol=1e-5)
            assert_close(before[first:], after[first:], atol=1e-5, rtol=1e-5)
            # and those behind it look at it
            assert ((before - after)[3:first].abs().amax(1) > 1e-3).all()
            # a text by itself
            length = int(tokens.cu_seqlens[2]) - first
            alone = build_tokens(tokens.ids[first : first + length], torch.tensor([length]))
            ours = encoder.compute_logits(alone)
            assert_close(ours, before[first : first + length], atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_mean_surprise_of_the_next_tokens(family, tiny, laid) -> None:
    """Each target by a forward pass over the tokens before it alone, which holds nothing to look
    ahead at.
    """
    encoder, batch = _build(tiny, family), _follow(laid([7, 4]))
    assert len(batch.targets) == 9
    losses = []
    with torch.no_grad():
        for place, target in zip(batch.predicting.tolist(), batch.targets.tolist(), strict=True):
            begin = 0 if place < 7 else 7
            before = batch.tokens.ids[begin : place + 1]
            alone = build_tokens(before, torch.tensor([len(before)]))
            losses.append(-encoder.compute_logits(alone)[-1].log_softmax(-1)[target])
    found = CausalLM().forward(encoder.eval(), batch)
    assert found.loss.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    trained = CausalLM().forward(encoder.train(), batch).loss
    encoder.eval()
    trained.backward()
    assert all(weight.grad is not None for weight in encoder.get_layers()[0].parameters())


def test_lean_and_transformers_arithmetic_agree(tiny, tokens) -> None:
    shared = sorted(fast_encoder.FAST_FAMILIES & {*KEPT, "modernbert"})
    assert len(shared) == 6
    for family in shared:
        encoder = _build(tiny, family)
        with torch.no_grad():
            lean = encoder.encode(tokens)
            encoder.uses_fast_path = False
            assert_close(encoder.encode(tokens), lean, atol=1e-5, rtol=1e-5)


def test_the_saved_folder_opens_as_what_it_is_or_must_not_be_left(
    family, tiny, laid, tmp_path: Path
) -> None:
    encoder, tokens = _build(tiny, family), laid([9])
    if family not in KEPT:
        with pytest.raises(UserError, match=f"opens the family '{family}' as one that reads in bo"):
            check_kept_direction(family)
        with pytest.raises(UserError, match="expected a later phase with another objective"):
            encoder.check_kept()
        return
    encoder.check_kept()
    encoder.save_pretrained(tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        theirs, ours = opened(tokens.ids[None]).logits[0], encoder.compute_logits(tokens)
        assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
        again = load_encoder(tmp_path, "causal_lm")
        assert_close(again.compute_logits(tokens), ours, atol=1e-6, rtol=1e-6)
    with pytest.raises(UserError, match="is_decoder=true, so its tokens see only those before"):
        load_encoder(tmp_path, "masked_lm")


def test_masks_go_on_with_all_weights_in_both_directions(
    family, tiny, laid, facts, tmp_path: Path
) -> None:
    """What a causal phase has left is what a masked one begins with: body and head."""
    before, tokens = _build(tiny, family), laid([9, 4])
    before.save_pretrained(tmp_path)
    pretrained = Pretrained(name_or_path=str(tmp_path))
    pretrained.check("masked_lm")
    info = facts(pad_id=before.config.pad_token_id, max_tokens=9)
    after = pretrained.build("masked_lm", info, (), task="masked_lm").eval()
    assert after.loaded_weights is not None and not after.loaded_weights.fresh
    said = "tokens see all, where they have seen only those before them"
    assert after.loaded_weights.direction == said
    assert said in after.describe_loading().lines[-1]
    for name, weight in before.state_dict().items():
        assert torch.equal(weight, after.state_dict()[name]), name
    with torch.no_grad():
        assert not torch.allclose(before.compute_logits(tokens), after.compute_logits(tokens))
        after.save_pretrained(tmp_path / "after")
        opened = AutoModelForMaskedLM.from_pretrained(tmp_path / "after").eval()
        theirs = opened(tokens.ids[None, :9]).logits[0]
        assert_close(after.compute_logits(tokens)[:9], theirs, atol=1e-5, rtol=1e-4)
    at = torch.tensor([2, 10])
    assert MaskedLM().forward(after, MaskedBatch(tokens, at, tokens.ids[at])).loss.isfinite()
    # and back again
    back = Pretrained(name_or_path=str(tmp_path / "after")).build("causal_lm", info, ()).eval()
    with torch.no_grad():
        assert_close(back.compute_logits(tokens), before.compute_logits(tokens))


@pytest.mark.parametrize("family", ["bert", "modernbert", "electra"])
def test_a_fresh_one(family, facts) -> None:
    scratch = Scratch(family=family, layers=2, width=16, heads=2, max_tokens=40)
    scratch.check("causal_lm")
    encoder = scratch.build("causal_lm", facts(), (), task="causal_lm")
    assert encoder.is_causal and encoder.config.is_decoder
    assert not scratch.build("masked_lm", facts(), ()).is_causal


@pytest.mark.parametrize("family", ["deberta-v2", "mpnet"])
def test_what_transformers_would_compute_in_both_directions_is_refused(family, tiny) -> None:
    encoder = _build(tiny, family)
    encoder.uses_fast_path = False
    with pytest.raises(UserError, match=f"the family '{family}' is kept to one direction by this"):
        encoder.check_direction()


def test_a_network_whose_config_says_otherwise_is_refused(tiny) -> None:
    with pytest.raises(UserError, match="'bert' reads a text in both directions"):
        Encoder(tiny("bert", "causal_lm"), "causal_lm")
    with pytest.raises(UserError, match="add_cross_attention=true, so it reads the states of"):
        network = tiny("bert", "causal_lm", is_decoder=True)
        network.config.add_cross_attention = True
        Encoder(network, "causal_lm")
    assert find_model_class("causal_lm", "gpt2") is AutoModelForCausalLM
