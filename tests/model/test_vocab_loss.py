"""The loss over a vocabulary against torch's own cross-entropy."""

import pytest
import torch
from torch.nn.functional import cross_entropy, linear
from torch.testing import assert_close

from src.model import vocab_loss
from src.model.vocab_loss import vocabulary_loss, vocabulary_losses_and_predictions


@pytest.fixture
def problem():
    leaves = [torch.randn(7, 16), torch.randn(50, 16), torch.randn(50)]
    return [leaf.requires_grad_() for leaf in leaves], torch.randint(0, 50, (7,))


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
    for own, theirs in zip(
        torch.autograd.grad(ours, [hidden, weight, bias]), expected, strict=True
    ):
        assert own.dtype == torch.float32
        assert (own - theirs).norm() < 0.02 * theirs.norm()


def test_a_target_that_is_deemed_impossible_costs_much_but_not_everything():
    hidden, weight = torch.tensor([[200.0]]), torch.tensor([[1.0], [-1.0]])
    loss = vocabulary_loss(hidden, weight, None, torch.tensor([1]))
    assert torch.isfinite(loss) and loss > 80


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("margin", [0.0, 2.0, 5.0, 7.0, 9.0, 14.0])
def test_a_confident_prediction_keeps_its_loss_and_its_gradient(margin, kind):
    """49 others share exp(-margin): in bf16 a probability above 0.998 is 1, and all of it would be
    gone.
    """
    weight = torch.eye(50, requires_grad=True)
    hidden = torch.zeros(2, 50)
    hidden[:, 3] = margin
    hidden.requires_grad_()
    targets = torch.tensor([3, 4])
    plain = cross_entropy(linear(hidden, weight), targets, reduction="none")
    for chosen in ([0], [0, 1]):
        expected = torch.autograd.grad(plain[chosen].sum(), [hidden, weight], retain_graph=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
            ours = vocabulary_loss(hidden[chosen], weight, None, targets[chosen])
        near = {"atol": 0, "rtol": 1e-2} if kind == torch.bfloat16 else {"atol": 1e-7, "rtol": 1e-5}
        assert_close(ours, plain[chosen].sum(), **near)
        for own, theirs in zip(torch.autograd.grad(ours, [hidden, weight]), expected, strict=True):
            assert_close(
                own[chosen if own is hidden else slice(None)], theirs, atol=1e-7, rtol=2e-2
            )


def test_the_gradient_of_a_rows_logits_adds_up_to_nothing():
    """Seen in the bias, whose gradient it is."""
    logits = torch.randn(1, 5000) * 2
    targets = torch.tensor([int(logits.argmax())])
    bias = torch.zeros(5000, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        vocabulary_loss(torch.ones(1, 1), logits.T, bias, targets).backward()
    assert abs(float(bias.grad.sum())) < 4e-3 * float(bias.grad.abs().max())


def test_probabilities_take_the_place_of_the_logits():
    for kind in (torch.float32, torch.bfloat16):
        logits = (4 * torch.randn(5, 3001)).to(kind)
        expected = logits.softmax(-1)
        found = vocab_loss._softmax_in_place(logits)
        assert torch.equal(found, expected) and found.data_ptr() == logits.data_ptr()


@pytest.mark.parametrize("at_once", [1, 50, 150, 10_000])
@pytest.mark.parametrize("biased", [True, False])
def test_held_out_tokens_are_judged_a_few_at_a_time_as_all_at_once(
    at_once, biased, problem, monkeypatch
):
    """One token, 3 of 7 with a rest of one, all: each logit in fp32."""
    (hidden, weight, bias), targets = problem
    monkeypatch.setattr(vocab_loss, "_MAX_LOGITS_PER_CHUNK", at_once)
    shift = bias if biased else None
    logits = linear(hidden, weight, shift)
    losses, likeliest = vocabulary_losses_and_predictions(hidden, weight, shift, targets)
    assert_close(
        losses, cross_entropy(logits, targets, reduction="none").detach(), atol=1e-5, rtol=1e-6
    )
    assert likeliest.tolist() == logits.argmax(-1).tolist() and not losses.requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        rounded = linear(hidden, weight, shift)
        losses, likeliest = vocabulary_losses_and_predictions(hidden, weight, shift, targets)
    assert rounded.dtype == torch.bfloat16 and losses.dtype == torch.float32
    assert_close(
        losses,
        cross_entropy(rounded.float(), targets, reduction="none").detach(),
        atol=1e-5,
        rtol=1e-6,
    )
    assert likeliest.tolist() == rounded.argmax(-1).tolist()


def test_of_held_out_tokens_few_logits_are_held(monkeypatch):
    """No more rows than the bound allows, whatever the number of tokens; a vocabulary beyond it
    goes row by row.
    """
    sizes = []
    monkeypatch.setattr(
        vocab_loss, "linear", lambda *given: sizes.append(len(given[0])) or linear(*given)
    )
    for at_once, expected in ((250, [5, 5, 1]), (49, [1] * 11)):
        sizes.clear()
        monkeypatch.setattr(vocab_loss, "_MAX_LOGITS_PER_CHUNK", at_once)
        vocabulary_losses_and_predictions(
            torch.randn(11, 4), torch.randn(50, 4), None, torch.arange(11)
        )
        assert sizes == expected


def test_a_held_out_target_that_is_deemed_impossible_has_its_whole_loss():
    hidden, weight = torch.tensor([[300.0]]), torch.tensor([[1.0], [-1.0]])
    losses, likeliest = vocabulary_losses_and_predictions(hidden, weight, None, torch.tensor([1]))
    assert (losses.tolist(), likeliest.tolist()) == ([600.0], [0])


def test_nothing_to_judge():
    losses, likeliest = vocabulary_losses_and_predictions(
        torch.zeros(0, 4), torch.randn(9, 4), None, torch.zeros(0, dtype=torch.long)
    )
    assert (losses.tolist(), likeliest.tolist()) == ([], [])


def test_no_targets_no_loss():
    hidden = torch.zeros(0, 16, requires_grad=True)
    loss = vocabulary_loss(hidden, torch.randn(50, 16), None, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0 and hidden.grad.shape == (0, 16)


def test_what_is_not_a_number_stays_so():
    loss = vocabulary_loss(
        torch.full((1, 4), float("nan")), torch.randn(9, 4), None, torch.tensor([1])
    )
    assert torch.isnan(loss)
    assert torch.isnan(
        vocabulary_losses_and_predictions(
            torch.full((1, 4), float("nan")), torch.randn(9, 4), None, torch.tensor([1])
        )[0]
    )
