"""Causal language modelling, against transformers' own loss and by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from src.core.batch import NextTokenBatch, build_tokens
from src.core.user_errors import UserError
from src.model.encoder import Encoder
from src.model.encoder_config import Scratch
from src.model.objectives.causal_lm import CausalLM


def _gpt(facts) -> Encoder:
    torch.manual_seed(0)
    scratch = Scratch(family="gpt2", layers=2, width=16, heads=2, max_tokens=40, intermediate=24)
    return scratch.build("causal_lm", facts(), (), task="causal_lm")


def _batch(lengths: list[int]) -> NextTokenBatch:
    ids = torch.arange(5, 5 + sum(lengths))
    tokens = build_tokens(ids, torch.tensor(lengths))
    followed = torch.arange(len(ids))[tokens.positions.roll(-1) > 0]
    return NextTokenBatch(tokens, followed, ids[followed + 1])


def test_the_loss_is_that_of_transformers_over_both_texts(facts, tmp_path: Path) -> None:
    """Texts of 7 and 4 tokens: 6 and 3 targets, each text by itself, as the saved folder has it."""
    encoder, batch = _gpt(facts).eval(), _batch([7, 4])
    found = CausalLM().forward(encoder, batch)
    assert found.num_targets == 9
    encoder.save_pretrained(tmp_path)
    network = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    first, second = batch.tokens.ids[:7][None], batch.tokens.ids[7:][None]
    with torch.no_grad():
        losses = [network(input_ids=text, labels=text).loss for text in (first, second)]
        likeliest = [network(input_ids=text).logits[0, :-1].argmax(-1) for text in (first, second)]
    assert found.loss.item() == pytest.approx((6 * losses[0] + 3 * losses[1]).item() / 9, rel=1e-5)
    assert torch.equal(found.outputs, torch.cat(likeliest))
    trained = CausalLM().forward(encoder.train(), batch)
    assert trained.loss.item() == pytest.approx(found.loss.item(), rel=1e-5)
    trained.loss.backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_who_knows_nothing_loses_ln_v(facts) -> None:
    encoder = _gpt(facts)
    torch.nn.init.zeros_(encoder.network.lm_head.weight)
    loss = CausalLM().forward(encoder, _batch([7, 4])).loss.item()
    assert loss == pytest.approx(math.log(encoder.config.vocab_size))


def test_a_batch_without_targets_has_no_loss_and_no_gradient(facts) -> None:
    encoder = _gpt(facts).train()
    batch = _batch([7])
    empty = batch._replace(predicting=batch.predicting[:0], targets=batch.targets[:0])
    found = CausalLM().forward(encoder, empty)
    found.loss.backward()
    assert (found.loss.item(), found.num_targets) == (0.0, 0)
    assert all(not parameter.grad.any() for parameter in encoder.parameters())


def test_a_family_that_reads_in_both_directions_is_refused(facts, tiny) -> None:
    from transformers import BertConfig

    # transformers gives BERT a causal head all the same, with a warning
    config = BertConfig(vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    with pytest.raises(UserError, match="'bert' reads a text in both directions"):
        Encoder(AutoModelForCausalLM.from_config(config), "causal_lm")
    with pytest.raises(UserError, match=r"model.encoder.family=bart.*decoder"):
        Scratch(family="bart", layers=1, width=8, heads=1).check("causal_lm")
    with pytest.raises(UserError, match=r"model.encoder.family=gpt2.*causal language modelling"):
        Scratch(family="gpt2", layers=1, width=8, heads=1).check("masked_lm")
    Scratch(family="gpt2", layers=1, width=8, heads=1).check("causal_lm")


def test_perplexity_and_accuracy(facts) -> None:
    derived = CausalLM().derive_metrics({"loss": math.log(8)}, facts())
    assert derived["perplexity"] == pytest.approx(8)
    metric = CausalLM().build_metrics(60)["accuracy"]
    metric.update(torch.from_numpy(np.array([3, 4, 5, 6])), torch.tensor([3, 4, 5, 9]))
    assert metric.compute().item() == 0.75
