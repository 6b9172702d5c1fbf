"""Dropout with shared random bits: the right share, the right mean, repeatable."""

import pytest
import torch
from torch import nn

from src.model.dropout import dropout, kept


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_share_is_dropped_and_the_mean_stays(share, kind):
    torch.manual_seed(1)
    keep = kept(torch.empty(400, 501, dtype=kind), share)
    assert keep.shape == (400, 501) and keep.dtype == kind
    dropped = (keep == 0).float().mean().item()
    assert dropped == pytest.approx(share, abs=4e-3)
    assert keep.float().mean().item() == pytest.approx(1, abs=4e-2)
    assert keep.unique().numel() == 2


def test_neighbours_are_dropped_independently():
    """Four of them share the bits of one number."""
    torch.manual_seed(2)
    gone = kept(torch.empty(100_000, 4), 0.5) == 0
    together = (gone[:, :, None] & gone[:, None, :]).float().mean(0)
    assert together.fill_diagonal_(0.25) == pytest.approx(0.25, abs=0.01)


def test_the_same_seed_drops_the_same():
    draws = [kept(torch.empty(33), 0.5) for seed in (5, 5, 6) if torch.manual_seed(seed)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_evaluation_and_identities_drop_nothing():
    states = torch.randn(3, 4)
    assert dropout(states, nn.Dropout(0.5).eval()) is states
    assert dropout(states, nn.Identity().train()) is states
    assert dropout(states, nn.Dropout(0.0).train()) is states
    assert not torch.equal(dropout(states, nn.Dropout(0.5).train()), states)
