"""Masked tokens and pairs of segments, against transformers' own loss and by hand."""

import math
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForPreTraining

from src.core.batch import SentencePairBatch, build_tokens
from src.core.user_errors import UserError
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained, Scratch
from src.model.model_classes import AUTO_MODEL_CLASSES
from src.model.objectives.masked_lm_with_next_sentence import MaskedLMWithNextSentence
from src.model.stage_metrics import StageMetrics
from src.model.stored_encoder import load_encoder

HEAD = "masked_lm_with_next_sentence"
LABELS = torch.tensor([0, 1, 1])
MASKED = torch.tensor([2, 7, 11, 15, 20])


@pytest.fixture
def batch(laid) -> SentencePairBatch:
    tokens = laid([9, 8, 6], pairs=True)
    targets = tokens.ids[MASKED]
    return SentencePairBatch(
        tokens._replace(ids=tokens.ids.index_fill(0, MASKED, 4)), MASKED, targets, LABELS
    )


def without_dropout(network):
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return network


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("family", ["bert", "albert"])
def test_logits_and_loss_are_those_of_transformers(
    family, lean, tiny, batch, padded, tmp_path: Path
):
    encoder = Encoder(without_dropout(tiny(family, HEAD)), HEAD).eval()
    encoder.uses_fast_path = encoder.uses_fast_path and lean
    encoder.save_pretrained(tmp_path)
    theirs = AutoModelForPreTraining.from_pretrained(tmp_path).eval()
    inputs = padded(theirs, batch.tokens)
    is_token = inputs["attention_mask"].bool()
    with torch.no_grad():
        answer = theirs(**inputs)
        found = MaskedLMWithNextSentence().forward(encoder, batch)
        firsts = encoder.encode(batch.tokens, at="first")
        pair_logits = encoder.compute_pair_logits(firsts)
    expected = answer.seq_relationship_logits if family == "bert" else answer.sop_logits
    tokens = answer.prediction_logits[is_token]
    assert_close(pair_logits, expected, atol=2e-5, rtol=1e-4)
    assert_close(encoder.compute_logits(batch.tokens), tokens, atol=2e-5, rtol=1e-4)
    # the loss by transformers: the sum of both means
    flat = torch.full_like(batch.tokens.ids, -100).index_copy(0, MASKED, batch.targets)
    labels = torch.full_like(inputs["input_ids"], -100).masked_scatter(is_token, flat)
    name = "next_sentence_label" if family == "bert" else "sentence_order_label"
    with torch.no_grad():
        loss = theirs(**inputs, labels=labels, **{name: LABELS}).loss
    assert_close(found.loss, loss, atol=1e-5, rtol=1e-5)
    assert found.num_targets == 5
    assert found.outputs[:, 0].tolist() == [
        *tokens[MASKED].argmax(-1).tolist(),
        *(-1 - expected.argmax(-1)).tolist(),
    ]
    assert found.targets.tolist() == [*batch.targets.tolist(), -1, -2, -2]
    trained = MaskedLMWithNextSentence().forward(encoder.train(), batch)
    assert_close(trained.loss, loss, atol=1e-5, rtol=1e-5)
    trained.loss.backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_who_knows_nothing_loses_ln_v_and_ln_2(tiny, batch):
    encoder = Encoder(tiny("bert", HEAD), HEAD)
    for layer in (encoder.network.cls.predictions.decoder, encoder.network.cls.seq_relationship):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    loss = MaskedLMWithNextSentence().forward(encoder, batch).loss.item()
    assert loss == pytest.approx(math.log(60) + math.log(2), rel=1e-5)


def test_a_batch_without_targets_has_no_loss_and_no_gradient(tiny, batch):
    encoder = Encoder(tiny("albert", HEAD), HEAD).train()
    empty = batch._replace(masked_positions=MASKED[:0], targets=MASKED[:0], pair_labels=LABELS[:0])
    found = MaskedLMWithNextSentence().forward(encoder, empty)
    found.loss.backward()
    assert (found.loss.item(), found.num_targets) == (0.0, 0)
    assert all(not parameter.grad.any() for parameter in encoder.parameters())


def test_metrics_are_means_over_all_batches(tiny, batch, facts):
    """Rows of 9 and of 8 + 6 tokens, in two batches with 2 and 3 masks."""
    encoder, objective = Encoder(tiny("bert", HEAD), HEAD).eval(), MaskedLMWithNextSentence()
    whole = objective.forward(encoder, batch)
    metrics = StageMetrics("val", objective, {}, 60)
    ids, types = batch.tokens.ids, batch.tokens.type_ids
    for rows, span, masks in (
        (slice(0, 1), slice(0, 9), slice(0, 2)),
        (slice(1, 3), slice(9, 23), slice(2, 5)),
    ):
        lengths = batch.tokens.cu_seqlens.diff().long()[rows]
        part = SentencePairBatch(
            build_tokens(ids[span], lengths, types[span]),
            MASKED[masks] - span.start,
            batch.targets[masks],
            LABELS[rows],
        )
        metrics.update(objective.forward(encoder, part))
    values = metrics.compute()
    values |= objective.derive_metrics(values, facts(unigram_entropy=3.0))
    assert set(values) == {*objective.metric_names, "unigram_entropy"}
    is_right = (whole.outputs[:, 0] == whole.targets).float()
    expected = {
        "loss": whole.loss.item(),
        "masked_loss": whole.outputs[:5, 1].mean().item(),
        "next_sentence_loss": whole.outputs[5:, 1].mean().item(),
        "perplexity": math.exp(whole.outputs[:5, 1].mean().item()),
        "masked_accuracy": is_right[:5].mean().item(),
        "next_sentence_accuracy": is_right[5:].mean().item(),
        "unigram_entropy": 3.0,
    }
    assert values == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("family", ["roberta", "modernbert", "electra"])
def test_a_family_without_the_head_is_refused(family, tiny):
    with pytest.raises(UserError) as refusal:
        Encoder(tiny(family, "masked_lm"), HEAD)
    assert str(refusal.value) == (
        f"model.encoder: the family '{family}' has no head here that judges two segments; expected "
        "albert or bert, or model=masked_lm, which masks alone"
    )


def test_a_fresh_encoder_must_be_bert():
    Scratch(layers=1, width=8, heads=1).check(HEAD)
    with pytest.raises(UserError, match="'modernbert' has no head here that judges two segments"):
        Scratch(family="modernbert", layers=1, width=8, heads=1).check(HEAD)


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_a_classifier_keeps_body_and_pooler(family, tiny, facts, tmp_path: Path):
    Encoder(tiny(family, HEAD), HEAD).save_pretrained(tmp_path)
    stored = load_encoder(tmp_path, HEAD).network.base_model.state_dict()
    labelled = Pretrained(name_or_path=str(tmp_path)).build("sequence", facts(), ("a", "b"))
    found = labelled.network.base_model.state_dict()
    assert any("pooler" in name for name in stored)
    assert_close(found, stored, atol=0, rtol=0)
    # the words of a mask are asked for as of any other run
    load_encoder(tmp_path, "masked_lm")


def test_its_class_of_transformers():
    assert AUTO_MODEL_CLASSES[HEAD] is AutoModelForPreTraining
