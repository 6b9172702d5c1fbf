"""Integrated gradients, attention rollout and faithfulness, against values worked out by hand."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from src.core.user_errors import UserError
from src.model.attributions import ExplainedNetwork, Gradients, measure_faithfulness, roll_out
from tests.model.test_families import ABLE

BASELINE = 4
# their feed-forward layers have corners, which no number of steps smooths
CORNERED = {"deepseek_v2", "xlm"}


@pytest.mark.parametrize("family", ABLE["sequence"])
def test_the_parts_add_up_in_every_family(family, make, tmp_path: Path, texts):
    network = make(family, "sequence")
    network.save_pretrained(tmp_path)
    explained = ExplainedNetwork(tmp_path, "sequence")
    ids = texts.ids[:9]
    baseline = ids.clone()
    baseline[1:-1] = BASELINE
    with torch.no_grad():
        expected = network(ids[None]).logits
        assert_close(explained.compute_scores(ids[None], None), expected, atol=2e-5, rtol=1e-4)
        difference = expected[0, 1] - network(baseline[None]).logits[0, 1]
    # ModernBERT norms its embeddings first, so the path turns sharply where they are small
    found = explained.attribute(ids, baseline, None, 1, steps=1000)
    assert found.difference == pytest.approx(difference.item(), abs=2e-5)
    if family not in CORNERED:
        assert found.scores.sum().item() == pytest.approx(difference.item(), rel=0.05, abs=2e-3)
    # what is the same in both counts for nothing
    assert found.scores[0] == 0 and found.scores[-1] == 0
    flow = explained.roll_out_attention(ids, None, 0)
    if flow is not None:
        assert flow.sum().item() == pytest.approx(1)
        assert not flow.isnan().any()


def test_a_decoder_of_its_own_embeddings_is_refused(make, tmp_path: Path, texts):
    make("bart", "sequence").save_pretrained(tmp_path)
    explained = ExplainedNetwork(tmp_path, "sequence")
    decoder = explained.network.get_decoder()
    decoder.set_input_embeddings(deepcopy(decoder.get_input_embeddings()))
    with torch.no_grad():
        decoder.get_input_embeddings().weight.mul_(2)
    with pytest.raises(UserError, match="the decoder of the family 'bart' does not read the text"):
        explained.attribute(texts.ids[:9], texts.ids[:9].clone(), None, 1)


@pytest.mark.parametrize("family", ["bart", "bert"])
def test_the_place_of_a_mask_is_explained(family, make, tmp_path: Path, texts):
    network = make(family, "masked_lm")
    network.save_pretrained(tmp_path)
    explained = ExplainedNetwork(tmp_path, "masked_lm")
    ids = texts.ids[:9]
    with torch.no_grad():
        assert_close(explained.compute_scores(ids[None], None, 3), network(ids[None]).logits[:, 3])
    found = explained.attribute(ids, torch.full_like(ids, BASELINE), None, 7, at=3)
    assert found.completeness_error < 0.01


def test_rollout_of_two_layers():
    """One layer in which both tokens attend to the first, one in which each attends to itself:
    with half of the identity they are [[1, 0], [.5, .5]] and the identity.
    """
    first = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    itself = torch.eye(2)[None]
    expected = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    assert_close(roll_out([first, itself]), expected)
    # the mean of heads: half of the attention of the first layer
    assert_close(
        roll_out([torch.cat([first, itself])]),
        torch.tensor([[1.0, 0.0], [0.25, 0.75]], dtype=torch.float64),
    )
    assert_close(roll_out([first, first])[1], torch.tensor([0.75, 0.25], dtype=torch.float64))


def test_faithfulness_of_a_sum():
    """The probability is the sum of the weights of the tokens that are left, of ten that may go: at
    1, 5 and 10 % the first is taken, at 20 % two, at 50 % five.
    """
    weights = torch.tensor([0.0, 0.4, 0.2, 0.1, *[0.03] * 7])
    movable = torch.ones(11, dtype=torch.bool)
    movable[0] = False
    ids = torch.arange(11)

    def probability(kept: torch.Tensor) -> torch.Tensor:
        assert kept[0]
        return weights[kept].sum()

    good = measure_faithfulness(probability, ids, movable, weights)
    gone = [0.4, 0.4, 0.4, 0.6, 0.76]
    assert good.comprehensiveness == pytest.approx(sum(gone) / 5)
    assert good.sufficiency == pytest.approx(sum(0.91 - value for value in gone) / 5)
    bad = measure_faithfulness(probability, ids, movable, -weights)
    assert bad.comprehensiveness < good.comprehensiveness
    assert bad.sufficiency > good.sufficiency


def test_the_error_is_a_share_of_the_difference():
    assert Gradients(torch.tensor([1.0, 0.5]), 2.0, 50).completeness_error == pytest.approx(0.25)
