"""R-Drop and mixup against truths worked out by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from src.core.batch import LabelledBatch, Tokens
from src.core.user_errors import UserError
from src.model.encoder import Encoder
from src.model.objectives.binary import Binary
from src.model.objectives.classification import Classification
from src.model.objectives.multi_label import MultiLabel
from src.model.objectives.ordinal import Ordinal
from src.model.objectives.regression import Regression
from src.model.objectives.regularization import (
    compute_class_divergences,
    compute_decision_divergences,
)


def batch_of(tokens: Tokens, labels: list[int]) -> LabelledBatch:
    return LabelledBatch(tokens, torch.tensor(labels), torch.arange(len(labels)))


def test_the_divergence_of_two_passes() -> None:
    """Probabilities 3/4, 1/4 and 1/2, 1/2: the mean of both divergences is (1/4 ln 3) / 2."""
    one, other = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[7.0, 7.0]])
    expected = (
        3 / 4 * math.log(3 / 2)
        + 1 / 4 * math.log(1 / 2)
        + 1 / 2 * math.log(2 / 3)
        + 1 / 2 * math.log(2)
    ) / 2
    assert compute_class_divergences(one, other).item() == pytest.approx(expected, abs=1e-6)
    assert compute_class_divergences(one, other).item() == pytest.approx(math.log(3) / 8, abs=1e-6)
    assert compute_class_divergences(one, one + 2).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("objective", [Classification, Binary, Ordinal])
def test_r_drop_is_two_passes_and_their_divergence(objective: Any, tiny: Any, laid: Any) -> None:
    outputs = 2 if objective is Classification else 1
    network = tiny("bert", "sequence", num_labels=outputs, hidden_dropout_prob=0.5)
    encoder, batch = Encoder(network, "sequence").train(), batch_of(laid([5, 3, 9]), [0, 1, 1])
    torch.manual_seed(3)
    found = objective(r_drop=0.7).forward(encoder, batch)
    torch.manual_seed(3)
    passes = [objective().forward(encoder, batch) for _ in range(2)]
    mean = sum(one.loss.item() for one in passes) / 2
    divergence = compute_class_divergences(passes[0].outputs, passes[1].outputs).mean().item()
    assert divergence > 0
    assert found.loss.item() == pytest.approx(mean + 0.7 * divergence, rel=1e-5)
    assert (found.num_targets, len(found.outputs)) == (3, 3)
    torch.manual_seed(3)
    off = objective(r_drop=0, mixup=0).forward(encoder, batch)
    assert off.loss.item() == passes[0].loss.item()
    encoder.eval()
    measured = objective(r_drop=0.7).forward(encoder, batch).loss.item()
    assert measured == objective().forward(encoder, batch).loss.item()


def test_the_divergence_of_decisions() -> None:
    """A yes of 3/4 and of 1/2 is as far apart as the same probabilities of two classes."""
    one, other = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.0, 0.0]])
    found = compute_decision_divergences(one, other)
    assert found[0].tolist() == pytest.approx([math.log(3) / 8, 0.0], abs=1e-6)
    # p ln(p / q) over yes and no, both ways, by torch's own Bernoulli
    logits, others = torch.randn(4, 3), torch.randn(4, 3)
    p, q = (torch.distributions.Bernoulli(logits=some) for some in (logits, others))
    expected = (
        torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p)
    ) / 2
    torch.testing.assert_close(compute_decision_divergences(logits, others), expected)


def _run_twice(objective: Any, encoder: Encoder, batch: LabelledBatch) -> list[Any]:
    torch.manual_seed(3)
    return [objective.forward(encoder, batch) for _ in range(2)]


def test_r_drop_for_several_labels(tiny: Any, laid: Any) -> None:
    network = tiny("bert", "sequence", num_labels=3, hidden_dropout_prob=0.5)
    encoder, tokens = Encoder(network, "sequence").train(), laid([5, 3, 9])
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 0]], dtype=torch.uint8)
    batch = LabelledBatch(tokens, labels, torch.arange(3))
    one, other = _run_twice(MultiLabel(focal_gamma=2), encoder, batch)
    torch.manual_seed(3)
    found = MultiLabel(focal_gamma=2, r_drop=0.7).forward(encoder, batch)
    p, q = one.outputs, other.outputs
    divergence = ((p - q) * (p.logit() - q.logit()) / 2).mean().item()
    mean = (one.loss.item() + other.loss.item()) / 2
    assert divergence > 0
    assert found.loss.item() == pytest.approx(mean + 0.7 * divergence, rel=1e-4)
    assert found.outputs.shape == (3, 3)
    encoder.eval()
    measured = MultiLabel(r_drop=0.7).forward(encoder, batch).loss.item()
    assert measured == MultiLabel().forward(encoder, batch).loss.item()


@pytest.mark.parametrize("delta", [None, 0.5])
def test_r_drop_for_numbers(delta: float | None, tiny: Any, laid: Any) -> None:
    network = tiny("bert", "sequence", num_labels=1, hidden_dropout_prob=0.5)
    encoder, tokens = Encoder(network, "sequence").train(), laid([5, 3, 9])
    batch = LabelledBatch(tokens, torch.tensor([0.5, -1.0, 2.0]), torch.arange(3))
    one, other = _run_twice(Regression(huber_delta=delta), encoder, batch)
    torch.manual_seed(3)
    found = Regression(huber_delta=delta, r_drop=0.7).forward(encoder, batch)
    difference = (one.outputs - other.outputs).square().mean().item()
    mean = (one.loss.item() + other.loss.item()) / 2
    assert difference > 0
    assert found.loss.item() == pytest.approx(mean + 0.7 * difference, rel=1e-5)
    assert found.outputs.shape == (3,)
    encoder.eval()
    measured = Regression(r_drop=0.7).forward(encoder, batch).loss.item()
    assert measured == Regression().forward(encoder, batch).loss.item()


@pytest.mark.parametrize("objective", [MultiLabel, Regression])
def test_a_batch_without_texts_has_no_loss(objective: Any, tiny: Any, laid: Any) -> None:
    width = 3 if objective is MultiLabel else 1
    encoder = Encoder(tiny("bert", "sequence", num_labels=width), "sequence").train()
    labels = torch.zeros(0, 3, dtype=torch.uint8) if width == 3 else torch.zeros(0)
    result = objective(r_drop=0.5).forward(
        encoder, LabelledBatch(laid([3]), labels, torch.arange(0))
    )
    assert (result.loss.item(), result.num_targets) == (0.0, 0)


def test_r_drop_without_dropout_is_refused(tiny: Any, laid: Any) -> None:
    changes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    encoder = Encoder(tiny("bert", "sequence", num_labels=2, **changes), "sequence").train()
    with pytest.raises(UserError) as error:
        Classification(r_drop=1).forward(encoder, batch_of(laid([5]), [0]))
    assert str(error.value) == (
        "model.objective.r_drop=1: two passes are the same where nothing is dropped; "
        "model.encoder.dropout=0.1 drops a tenth"
    )


class Vectors(torch.nn.Module):
    """Stands where an encoder stands: its vectors are their own logits."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors = vectors

    def encode_sequences(self, tokens: Tokens) -> Tensor:
        return self.vectors

    def compute_sequence_logits(self, vectors: Tensor) -> Tensor:
        return vectors

    def compute_logits(self, tokens: Tokens) -> Tensor:
        return self.vectors


def test_mixup_mixes_vectors_and_losses(laid: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares of 1/4: (ln 3, 0) and (0, ln 3) become 1/4 (ln 3, 0) + 3/4 (0, ln 3), and back."""
    monkeypatch.setattr(torch, "randperm", lambda count, device: torch.tensor([1, 0]))
    monkeypatch.setattr(
        torch.distributions.Beta, "sample", lambda self: torch.tensor([1 / 4, 1 / 4])
    )
    vectors = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)]])
    batch = batch_of(laid([1, 1]), [0, 1])
    result = Classification(mixup=0.2).forward(Vectors(vectors).train(), batch)  # type: ignore[arg-type]
    # the second label has the logit 3/4 ln 3 and the first 1/4 ln 3
    second = 1 / (1 + 3**-0.5)
    expected = -1 / 4 * math.log(1 - second) - 3 / 4 * math.log(second)
    assert result.loss.item() == pytest.approx(expected)
    # what is measured is not mixed
    plain = Classification(mixup=0.2).forward(Vectors(vectors).eval(), batch)  # type: ignore[arg-type]
    assert plain.loss.item() == pytest.approx(-math.log(3 / 4))


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 5.0])
def test_mixup_with_a_real_encoder_has_a_gradient(alpha: float, tiny: Any, laid: Any) -> None:
    encoder = Encoder(tiny("bert", "sequence", num_labels=1), "sequence").train()
    torch.manual_seed(0)
    batch = batch_of(laid([5, 3, 9]), [0, 1, 1])
    Binary(mixup=alpha).forward(encoder, batch).loss.backward()
    gradient = encoder.network.bert.embeddings.word_embeddings.weight.grad
    assert gradient is not None and gradient.isfinite().all() and gradient.abs().sum() > 0


def test_both_at_once_are_refused() -> None:
    for objective in (Classification, Binary, Ordinal):
        with pytest.raises(UserError) as error:
            objective(r_drop=1, mixup=0.2)
        assert str(error.value) == (
            "model.objective.r_drop=1 does not go with model.objective.mixup; give one of the two"
        )
