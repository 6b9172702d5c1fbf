"""The loss over a vocabulary against torch's own cross-entropy."""

import pytest
import torch
from torch.nn.functional import cross_entropy, linear
from torch.testing import assert_close

from src.model.vocabulary import vocabulary_loss


@pytest.fixture
def problem():
    leaves = [torch.randn(7, 16), torch.randn(50, 16), torch.randn(50)]
    return [each.requires_grad_() for each in leaves], torch.randint(0, 50, (7,))


@pytest.mark.parametrize("biased", [True, False])
def test_loss_and_gradients_are_those_of_cross_entropy(biased, problem):
    (hidden, weight, bias), targets = problem
    shift = bias if biased else None
    plain = cross_entropy(linear(hidden, weight, shift), targets, reduction="sum")
    leaves = [hidden, weight, *([bias] if biased else [])]
    expected = torch.autograd.grad(plain * 0.3, leaves)
    ours = vocabulary_loss(hidden, weight, shift, targets)
    assert_close(ours, plain, atol=1e-5, rtol=1e-6)
    for own, theirs in zip(torch.autograd.grad(ours * 0.3, leaves), expected, strict=True):
        assert_close(own, theirs, atol=1e-5, rtol=1e-5)


def test_in_bf16_it_is_as_near_as_bf16_is(problem):
    (hidden, weight, bias), targets = problem
    plain = cross_entropy(linear(hidden, weight, bias), targets, reduction="sum")
    expected = torch.autograd.grad(plain, [hidden, weight, bias])
    with torch.autocast("cpu", torch.bfloat16):
        ours = vocabulary_loss(hidden, weight, bias, targets)
    assert ours.dtype == torch.float32
    assert_close(ours, plain, atol=0, rtol=1e-2)
    for own, theirs in zip(torch.autograd.grad(ours, [hidden, weight, bias]), expected, strict=True):
        assert own.dtype == torch.float32
        assert (own - theirs).norm() < 0.02 * theirs.norm()


def test_a_target_that_is_deemed_impossible_costs_much_but_not_everything():
    hidden, weight = torch.tensor([[200.0]]), torch.tensor([[1.0], [-1.0]])
    loss = vocabulary_loss(hidden, weight, None, torch.tensor([1]))
    assert torch.isfinite(loss) and loss > 80


def test_no_targets_no_loss():
    hidden = torch.zeros(0, 16, requires_grad=True)
    loss = vocabulary_loss(hidden, torch.randn(50, 16), None, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0 and hidden.grad.shape == (0, 16)


def test_what_is_not_a_number_stays_so():
    loss = vocabulary_loss(torch.full((1, 4), float("nan")), torch.randn(9, 4), None, torch.tensor([1]))
    assert torch.isnan(loss)
