"""Losses and metrics against truths worked out by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from src.core.batch import LabelledBatch, MaskedBatch, build_tokens
from src.core.user_errors import UserError
from src.model.encoder import Encoder
from src.model.objectives.classification import Classification
from src.model.objectives.masked_lm import MaskedLM
from src.model.objectives.multi_label import MultiLabel
from src.model.objectives.regression import Regression


class Said(nn.Module):
    """Stands where an encoder stands, and answers what it was told to."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def compute_logits(self, tokens, at=None):
        return self.logits if at is None else self.logits[: len(at)]

    def compute_loss_at(self, tokens, at, targets):
        return nn.functional.cross_entropy(
            self.compute_logits(tokens, at), targets, reduction="sum"
        )

    def compute_loss_and_predictions_at(self, tokens, at, targets):
        loss = self.compute_loss_at(tokens, at, targets)
        return loss, self.compute_logits(tokens, at).argmax(-1)


# torchmetrics says so of every Spearman correlation, which needs all values to rank them.
spearman = pytest.mark.filterwarnings(
    "ignore:Metric `SpearmanCorrcoef` will save all targets:UserWarning"
)


def labelled(labels: Tensor) -> LabelledBatch:
    count = len(labels)
    return LabelledBatch(
        build_tokens(torch.arange(count), torch.ones(count, dtype=torch.long)),
        labels,
        torch.arange(count),
    )


def masked(positions: list[int], targets: list[int]) -> MaskedBatch:
    tokens = build_tokens(torch.arange(8), torch.tensor([5, 3]))
    return MaskedBatch(
        tokens, torch.tensor(positions, dtype=torch.long), torch.tensor(targets, dtype=torch.long)
    )


def test_a_masked_lm_that_knows_nothing_loses_ln_v():
    result = MaskedLM().forward(Said(torch.zeros(3, 50)).eval(), masked([1, 2, 7], [4, 9, 49]))
    assert result.loss.item() == pytest.approx(math.log(50)) and result.num_targets == 3
    assert result.outputs.tolist() == [0, 0, 0] and result.targets.tolist() == [4, 9, 49]


def test_masked_lm_looks_at_the_masked_positions_alone(tiny):
    encoder, batch = Encoder(tiny("bert"), "masked_lm"), masked([1, 6], [30, 31])
    result = MaskedLM().forward(encoder.eval(), batch)
    every = encoder.compute_token_logits(encoder.encode(batch.tokens)).log_softmax(-1)
    assert result.loss.item() == pytest.approx(-(every[1, 30] + every[6, 31]).item() / 2, rel=1e-5)
    assert result.outputs.tolist() == every[[1, 6]].argmax(-1).tolist()


def test_a_batch_without_masks_loses_nothing():
    """A corpus may end with a row of special tokens alone."""
    result = MaskedLM().forward(Said(torch.zeros(3, 50)).eval(), masked([], []))
    assert (result.loss.item(), result.num_targets) == (0.0, 0)


def test_classification_that_knows_nothing_loses_ln_c():
    result = Classification(num_labels=3).forward(
        Said(torch.zeros(4, 3)), labelled(torch.tensor([0, 1, 2, 2]))
    )
    assert result.loss.item() == pytest.approx(math.log(3)) and result.num_targets == 4


def test_label_smoothing_is_for_training_only():
    """Logits (2, 0) for the first of 2 labels, 0.2 of it spread: 0.9 * ln(1 + e^-2) + 0.1 * ln(1 +
    e^2).
    """
    objective, said = Classification(label_smoothing=0.2), Said(torch.tensor([[2.0, 0.0]]))
    plain = math.log(1 + math.exp(-2))
    smooth = 0.9 * plain + 0.1 * math.log(1 + math.exp(2))
    assert objective.forward(
        said.train(), labelled(torch.tensor([0]))
    ).loss.item() == pytest.approx(smooth, rel=1e-6)
    assert objective.forward(said.eval(), labelled(torch.tensor([0]))).loss.item() == pytest.approx(
        plain, rel=1e-6
    )


def test_regression_is_squared_error():
    result = Regression().forward(
        Said(torch.tensor([[1.0], [2.0], [4.0]])), labelled(torch.tensor([1.0, 0.0, 1.0]))
    )
    assert result.loss.item() == pytest.approx((0 + 4 + 9) / 3) and result.num_targets == 3
    assert result.outputs.tolist() == [1.0, 2.0, 4.0]


def computed(objective, num_labels, batches):
    metrics = objective.build_metrics(num_labels)
    for outputs, targets in batches:
        for metric in metrics.values():
            metric.update(outputs, targets)
    return {name: float(metric.compute()) for name, metric in metrics.items()}


def one_hot(classes: list[int], count: int) -> Tensor:
    return nn.functional.one_hot(torch.tensor(classes), count).float()


def test_class_metrics_of_uneven_batches_are_those_of_all_rows():
    """5 rows and 1 row; 4 of 6 are right. Per class F1: 2*2/(2*2+1) = 0.8, 2*1/(2*1+1+1) = 0.5,
    2*1/(2*1+1) = 2/3.
    """
    said, truth = [0, 0, 1, 2, 0, 1], [0, 0, 1, 2, 1, 2]
    batches = [
        (one_hot(said[:5], 3), torch.tensor(truth[:5])),
        (one_hot(said[5:], 3), torch.tensor(truth[5:])),
    ]
    values = computed(Classification(), 3, batches)
    assert values["accuracy"] == pytest.approx(4 / 6)
    assert values["f1_macro"] == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)


def test_masked_accuracy_counts_tokens():
    batches = [
        (torch.tensor([1, 2, 3]), torch.tensor([1, 2, 9])),
        (torch.tensor([7]), torch.tensor([8])),
    ]
    assert computed(MaskedLM(), 50, batches) == {"masked_accuracy": pytest.approx(2 / 4)}


@spearman
def test_regression_metrics_of_uneven_batches_are_those_of_all_rows():
    """Values 1 2 3 4 against 1 3 2 4: covariance 1, variances 5/4, so r = 4/5; mean error 2/4."""
    batches = [
        (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 2.0])),
        (torch.tensor([4.0]), torch.tensor([4.0])),
    ]
    values = computed(Regression(), 1, batches)
    expected = {"pearson": 0.8, "spearman": 0.8, "mae": 0.5}
    assert values == pytest.approx(expected, abs=1e-5)


def test_perplexity_is_of_the_mean_loss(facts):
    derived = MaskedLM().derive_metrics({"loss": math.log(20)}, facts(unigram_entropy=5.5))
    assert derived == {"perplexity": pytest.approx(20, rel=1e-5), "unigram_entropy": 5.5}
    assert MaskedLM().derive_metrics({"loss": 0.0}, facts()) == {"perplexity": 1.0}
    assert MaskedLM().derive_metrics({"loss": 1000.0}, facts())["perplexity"] == math.inf


def test_answers():
    said = torch.tensor([[0.0, math.log(3)]])
    assert Classification().to_predictions(said)[0].tolist() == pytest.approx([0.25, 0.75])
    assert Regression().to_predictions(torch.tensor([2.5])).tolist() == [2.5]
    assert MaskedLM().to_predictions(torch.tensor([1])).tolist() == [1]


@spearman
@pytest.mark.parametrize("objective", [MaskedLM, Classification, Regression])
def test_quantities_are_the_metrics_that_are_measured(objective, facts):
    made = objective()
    measured = {"loss", *made.build_metrics(3), *made.derive_metrics({"loss": 1.0}, facts())}
    assert measured == set(objective.metric_names)


def test_what_classification_refuses():
    with pytest.raises(
        UserError,
        match=r"Classification\.num_labels: expected a whole number at least 2 or null, found 1",
    ):
        Classification(num_labels=1)
    with pytest.raises(UserError, match=r"Classification\.label_smoothing"):
        Classification(label_smoothing=1.0)


@pytest.mark.parametrize("objective", [MaskedLM(), Classification(), Regression()])
def test_a_batch_without_targets_has_no_loss_and_no_gradient(objective, tiny):
    kind = "masked_lm" if objective.kind == "masked_lm" else "sequence"
    network = tiny("bert", kind, num_labels=1 if objective.kind == "regression" else 2)
    encoder = Encoder(network, kind)
    whole = masked([], [])
    batch = (
        whole
        if kind == "masked_lm"
        else LabelledBatch(whole.tokens, torch.zeros(0), torch.zeros(0))
    )
    result = objective.forward(encoder.train(), batch)
    assert (float(result.loss.detach()), result.num_targets, len(result.targets)) == (0.0, 0, 0)
    result.loss.backward()
    assert all(not each.grad.any() for each in network.parameters())
    assert len(objective.forward(encoder.eval(), batch).outputs) == 0


def test_several_labels_are_as_many_decisions():
    # right with 3/4 and 1/2, wrong with 3/4 and right with 1/2
    logits = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]])
    targets = torch.tensor([[1, 0], [0, 1]], dtype=torch.uint8)
    objective = MultiLabel()
    result = objective.forward(Said(logits).eval(), labelled(targets))
    expected = -(math.log(3 / 4) + 2 * math.log(1 / 2) + math.log(1 / 4)) / 4
    assert result.loss.item() == pytest.approx(expected) and result.num_targets == 2
    assert objective.to_predictions(result.outputs).tolist() == [
        pytest.approx([0.75, 0.5]),
        pytest.approx([0.75, 0.5]),
    ]


def test_metrics_of_several_labels():
    """Logits between 0 and 1 are all above a probability of 0.5."""
    logits = torch.tensor([[0.2, 0.3, -0.1], [0.4, -0.2, -0.3], [-0.1, -0.1, -0.2]])
    targets = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.uint8)
    objective = MultiLabel()
    result = objective.forward(Said(logits).eval(), labelled(targets))
    metrics = objective.build_metrics(3)
    assert ("loss", *metrics) == objective.metric_names
    for metric in metrics.values():
        metric.update(result.outputs, result.targets)
    assert {name: float(metric.compute()) for name, metric in metrics.items()} == pytest.approx(
        {"f1_micro": 4 / 6, "f1_macro": (2 / 3 + 2 / 3 + 0) / 3, "subset_accuracy": 2 / 3}
    )


def test_a_batch_without_rows_of_several_labels():
    logits = torch.zeros(1, 3, requires_grad=True)
    batch = labelled(torch.zeros(1, 3, dtype=torch.uint8))
    result = MultiLabel().forward(Said(logits), batch._replace(labels=batch.labels[:0]))
    result.loss.backward()
    assert result.num_targets == 0 and logits.grad.abs().sum() == 0


def test_several_labels_need_two(facts):
    with pytest.raises(UserError, match="needs at least 2 labels"):
        MultiLabel().check_dataset(facts(label_names=("a",)))
    with pytest.raises(UserError, match="expects 3 labels .* the data have 2: a, b"):
        MultiLabel(num_labels=3).check_dataset(facts(label_names=("a", "b")))
