"""Dropout with shared random bits: the right share, the right mean, repeatable."""

import pytest
import torch
from torch import nn

from src.model.fast_dropout import apply_dropout, apply_dropout_module


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_share_is_dropped_and_the_mean_stays(share, kind):
    torch.manual_seed(1)
    states = torch.full((400, 501), 2.0, dtype=kind)
    found = apply_dropout(states, share)
    assert found.shape == states.shape and found.dtype == kind
    assert (found == 0).float().mean().item() == pytest.approx(share, abs=4e-3)
    assert found.float().mean().item() == pytest.approx(2, abs=8e-2)
    assert sorted(found.unique().tolist()) == [0, pytest.approx(2 / (1 - share), rel=1e-2)]


def test_the_gradient_passes_where_the_state_did():
    states = torch.randn(7, 9, requires_grad=True)
    found = apply_dropout(states, 0.4)
    found.sum().backward()
    torch.testing.assert_close(
        states.grad, torch.where(found == 0, 0.0, found.detach() / states.detach())
    )


def test_neighbours_are_dropped_independently():
    """Four of them share the bits of one number."""
    torch.manual_seed(2)
    gone = apply_dropout(torch.ones(100_000, 4), 0.5) == 0
    together = (gone[:, :, None] & gone[:, None, :]).float().mean(0)
    assert together.fill_diagonal_(0.25) == pytest.approx(0.25, abs=0.01)


def test_the_same_seed_drops_the_same():
    draws = [apply_dropout(torch.ones(33), 0.5) for seed in (5, 5, 6) if torch.manual_seed(seed)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(("share", "left"), [(0.0, 1), (1e-5, 1), (0.99999, 0), (1.0, 0)])
def test_nothing_and_everything(share, left):
    """15 bits tell no share from 1 that is nearer to it than 1 in 65,536."""
    states = torch.ones(50, requires_grad=True)
    found = apply_dropout(states, share)
    found.sum().backward()
    assert found.unique().tolist() == states.grad.unique().tolist() == [left]


def test_the_largest_share_that_leaves_something():
    states = torch.ones(2**18)
    torch.manual_seed(3)
    assert apply_dropout(states, 1 - 2**-15).unique().tolist() == [0, 2**15]


def test_evaluation_and_identities_drop_nothing():
    states = torch.randn(3, 4)
    assert apply_dropout_module(states, nn.Dropout(0.5).eval()) is states
    assert apply_dropout_module(states, nn.Identity().train()) is states
    assert apply_dropout_module(states, nn.Dropout(0.0).train()) is states
    assert not torch.equal(apply_dropout_module(states, nn.Dropout(0.5).train()), states)
