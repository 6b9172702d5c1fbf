"""Embeddings that begin with vectors from the data."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from src.core.dataset_info import TokenVectors
from src.model.encoder_config import Pretrained, Scratch
from src.model.fresh_embeddings import set_embeddings
from src.model.model_config import ModelConfig
from src.model.objectives.masked_lm import MaskedLM
from src.model.optim import AdamW
from tests.model.conftest import VOCABULARY

HEADS = {
    "bert": "masked_lm",
    "modernbert": "masked_lm",
    "electra": "masked_lm",
    "gpt2": "causal_lm",
    "bart": "denoising",
    "t5": "denoising",
}
WIDTH = 16
SCRATCH = Scratch(layers=1, width=WIDTH, heads=2, intermediate=32, max_tokens=40)
FREQUENCIES = np.arange(VOCABULARY)


def _know(width: int = WIDTH) -> TokenVectors:
    vectors = np.random.default_rng(1).normal(size=(VOCABULARY, width)).astype(np.float32)
    vectors[:3] = 0
    return TokenVectors(vectors, FREQUENCIES, 1234)


def _build(family, facts):
    return replace(SCRATCH, family=family).build(HEADS[family], facts(end_id=2), ()).network


@pytest.mark.parametrize("family", HEADS)
def test_vectors_are_turned_and_scaled(family, facts) -> None:
    network = _build(family, facts)
    table = network.get_input_embeddings().weight
    before = table.detach().clone()
    notices = set_embeddings(network, _know)
    after = table.detach()
    std = max(float(before.std()), 1.6 / WIDTH**0.5)
    assert float(after[3:].std()) == pytest.approx(std, rel=1e-3)
    # what is near stays near
    vectors = torch.from_numpy(_know().vectors[3:])
    vectors = vectors - vectors.mean(0)
    likeness = [torch.corrcoef(each) for each in (vectors @ vectors.T, after[3:] @ after[3:].T)]
    torch.testing.assert_close(*likeness, atol=1e-3, rtol=1e-3)
    # those without neighbours keep their directions
    torch.testing.assert_close(after[:3], before[:3] * (std / before.std()))
    assert notices.tags["model/embeddings"] == notices.lines[0]
    assert "1,234 tokens" in notices.lines[0]


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_the_output_layer_begins_with_frequencies(family, facts) -> None:
    network = _build(family, facts)
    set_embeddings(network, _know)
    output = network.get_output_embeddings()
    assert output.weight is network.get_input_embeddings().weight
    counts = torch.arange(VOCABULARY, dtype=torch.float32) + 1
    torch.testing.assert_close(output.bias.detach(), (counts / counts.sum()).log())


def test_seeds_differ_and_one_seed_does_not(facts) -> None:
    tables = []
    for seed in (1, 1, 2):
        network = _build("bert", facts)
        torch.manual_seed(seed)
        set_embeddings(network, _know)
        tables.append(network.get_input_embeddings().weight.detach()[3:])
    assert torch.equal(tables[0], tables[1]) and not torch.equal(tables[0], tables[2])


@pytest.mark.parametrize("count", [0, 1], ids=["no token", "one token"])
def test_a_corpus_without_neighbours_changes_nothing(count, facts) -> None:
    network = _build("bert", facts)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    vectors = np.zeros((VOCABULARY, WIDTH), np.float32)
    vectors[5 : 5 + count] = 1
    known = TokenVectors(vectors, FREQUENCIES, 2)
    assert set_embeddings(network, lambda width: known).lines == ()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_pretrained_encoder_is_not_touched() -> None:
    optim = AdamW(lr=1e-3)
    begins = [
        ModelConfig(
            encoder=encoder, objective=MaskedLM(), optim=optim, fresh_embeddings="cooccurrence"
        ).begins_from_neighbours
        for encoder in (SCRATCH, Pretrained(name_or_path="anywhere"))
    ]
    assert begins == [True, False]
