"""What represents a text for its head, against truths worked out by hand."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from src.core.batch import build_tokens
from src.core.user_errors import UserError
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained, Scratch
from src.model.model_classes import AUTO_MODEL_CLASSES
from src.model.stored_encoder import load_encoder
from src.model.text_pooling import AttentionPooling, write_pooling

NAMES = ("bad", "good")


def build(place: Path, facts: Any, **changes: Any) -> Encoder:
    return Pretrained(name_or_path=str(place), **changes).build("sequence", facts(), NAMES)


def test_attention_is_a_weighted_mean_of_each_text() -> None:
    """Scores 0 and ln 3 weigh 1/4 and 3/4; a text of one token is this token."""
    pooling = AttentionPooling(2)
    pooling.score.data = torch.tensor([math.log(3), 0.0])
    tokens = build_tokens(torch.arange(3), torch.tensor([2, 1]))
    states = torch.tensor([[0.0, 8.0], [1.0, 4.0], [7.0, 7.0]])
    assert_close(pooling(states, tokens), torch.tensor([[0.75, 5.0], [7.0, 7.0]]))
    # differences of scores alone count, however large they are
    assert_close(pooling(states * 1e4, tokens)[1], torch.tensor([7e4, 7e4]))
    rounded = pooling(states.bfloat16(), tokens)
    assert rounded.dtype == torch.bfloat16


def test_attention_begins_as_the_mean_and_learns() -> None:
    pooling, states = AttentionPooling(2), torch.tensor([[0.0, 8.0], [1.0, 4.0]])
    pooled = pooling(states, build_tokens(torch.arange(2), torch.tensor([2])))
    assert_close(pooled, torch.tensor([[0.5, 6.0]]))
    pooled.sum().backward()
    assert pooling.score.grad is not None and pooling.score.grad.abs().sum() > 0


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a_pooling_is_kept_with_the_weights(
    pooling: Any, tmp_path: Path, tiny: Any, laid: Any, facts: Any
) -> None:
    network = tiny("bert", "sequence", num_labels=2, id2label=dict(enumerate(NAMES)))
    write_pooling(network.config, pooling)
    encoder = Encoder(network, "sequence").eval()
    for name, weight in network.named_parameters():
        if name.startswith("attention_pooling"):
            weight.data.normal_()
    encoder.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["sentence_pooling"] == pooling
    tokens = laid([5, 9])
    opened = build(tmp_path, facts)
    with torch.no_grad():
        expected = encoder.compute_sequence_logits(encoder.encode_sequences(tokens))
        for again in (load_encoder(tmp_path, "sequence"), opened):
            again.eval()
            assert again.pooling == pooling
            logits = again.compute_sequence_logits(again.encode_sequences(tokens))
            assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    notices = opened.describe_loading()
    assert notices.tags["model/pooling"] == pooling
    assert notices.tags["model/fresh"] == notices.tags["model/unused"] == "none"
    assert "transformers' own BertForSequenceClassification does not do" in notices.lines[-1]
    # another pooling is asked for
    first = build(tmp_path, facts, pooling="first")
    assert first.pooling == "first" and "model/pooling" not in first.describe_loading().tags


def test_a_fresh_weighting_is_said(tmp_path: Path, tiny: Any, facts: Any) -> None:
    Encoder(tiny("bert"), "masked_lm").save_pretrained(tmp_path)
    encoder = build(tmp_path, facts, pooling="attention")
    assert "attention_pooling" in encoder.describe_loading().tags["model/fresh"]
    assert "network.attention_pooling.score" in dict(encoder.named_parameters())


def test_a_modernbert_says_it_in_transformers_own_words(
    tmp_path: Path, facts: Any, laid: Any, padded: Any
) -> None:
    made = Scratch(family="modernbert", layers=1, width=16, heads=2, pooling="mean")
    encoder = made.build("sequence", facts(), NAMES).eval()
    assert encoder.pooling == "mean" and encoder.describe_loading().lines == ()
    encoder.save_pretrained(tmp_path)
    theirs = AUTO_MODEL_CLASSES["sequence"].from_pretrained(tmp_path).eval()
    tokens = laid([5, 9])
    with torch.no_grad():
        logits = encoder.compute_sequence_logits(encoder.encode_sequences(tokens))
        assert_close(theirs(**padded(theirs, tokens)).logits, logits, atol=1e-5, rtol=1e-5)


def test_unknown_poolings_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"Scratch\.pooling: expected one of first, mean, attention"
    ):
        Scratch(layers=1, width=8, heads=2, pooling="max")  # type: ignore[arg-type]


@pytest.mark.parametrize("pooling", ["first", "mean", "attention"])
def test_every_family_pools(pooling: Any, family: str, tiny: Any, laid: Any) -> None:
    """The weights of attention are 0, so that it is the mean, but they have a gradient."""
    network = tiny(family, "sequence", num_labels=2)
    write_pooling(network.config, pooling)
    encoder, tokens = Encoder(network, "sequence").eval(), laid([5, 9])
    states = encoder.encode(tokens).split([5, 9])
    expected = [text[0] if pooling == "first" else text.mean(0) for text in states]
    vectors = encoder.encode_sequences(tokens)
    assert_close(vectors, torch.stack(expected), atol=1e-5, rtol=1e-5)
    encoder.compute_sequence_logits(vectors).sum().backward()
    own = {name: weight for name, weight in network.named_parameters() if "attention_pool" in name}
    assert len(own) == (pooling == "attention")
    assert all(weight.grad.isfinite().all() and weight.grad.any() for weight in own.values())
