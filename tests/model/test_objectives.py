"""Losses and metrics against truths worked out by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from src.core.batch import LabelledBatch, MaskedBatch, TaggedBatch, build_tokens
from src.core.user_errors import UserError
from src.model.encoder import Encoder
from src.model.objectives.binary import Binary
from src.model.objectives.classification import Classification
from src.model.objectives.masked_lm import MaskedLM
from src.model.objectives.multi_label import MultiLabel
from src.model.objectives.ordinal import Ordinal
from src.model.objectives.regression import Regression
from src.model.objectives.token_classification import TokenClassification


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

    def compute_losses_and_predictions_at(self, tokens, at, targets):
        logits = self.compute_logits(tokens, at)
        return nn.functional.cross_entropy(logits, targets, reduction="none"), logits.argmax(-1)


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
    assert result.token_scores is not None
    losses = (-every[[1, 6], [30, 31]]).tolist()
    assert result.token_scores.losses.tolist() == pytest.approx(losses, rel=1e-5)
    assert result.token_scores.is_right.tolist() == (result.outputs == batch.targets).tolist()
    # and nothing of it where weights are trained
    assert MaskedLM().forward(encoder.train(), batch).token_scores is None


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
@pytest.mark.parametrize("objective", [MaskedLM, Binary, Classification, Ordinal, Regression])
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


@pytest.mark.parametrize(
    "objective", [MaskedLM(), Binary(), Classification(), Ordinal(), Regression()]
)
def test_a_batch_without_targets_has_no_loss_and_no_gradient(objective, tiny):
    kind = "masked_lm" if objective.kind == "masked_lm" else "sequence"
    network = tiny("bert", kind, num_labels=2 if type(objective) is Classification else 1)
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


def trained(objective, logits: Tensor, labels: Tensor) -> float:
    """The loss of a training step."""
    return objective.forward(Said(logits).train(), labelled(labels)).loss.item()


IMBALANCED = {"label_names": ("no", "yes"), "label_counts": (9, 3), "num_train_rows": 12}
# probabilities 3/4 and 1/4, and the other way round
THREE_TO_ONE = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)]])


def test_balanced_weights_are_rows_over_labels_and_rows_of_the_label(facts):
    """12 rows of 2 labels: 12 / (2 * 9) and 12 / (2 * 3). The sum is divided by the number of
    texts, and not by that of their weights, so that it does not depend on how batches fall.
    """
    objective = Classification(class_weights="balanced").with_dataset(facts(**IMBALANCED))
    assert dict(objective.class_weights) == {"no": 12 / 18, "yes": 2.0}
    labels = torch.tensor([0, 0])
    losses = [-math.log(3 / 4), -math.log(1 / 4)]
    assert trained(objective, THREE_TO_ONE, labels) == pytest.approx(2 / 3 * sum(losses) / 2)
    labels = torch.tensor([0, 1])
    expected = (2 / 3 * losses[0] + 2 * losses[0]) / 2
    assert trained(objective, THREE_TO_ONE, labels) == pytest.approx(expected)
    assert objective.describe() == (
        ("class weights: no 0.6667, yes 2",),
        {"objective/class_weights": "no 0.6667, yes 2"},
    )
    # what is measured is the plain loss
    plain = objective.forward(Said(THREE_TO_ONE).eval(), labelled(labels)).loss.item()
    assert plain == pytest.approx(losses[0])


def test_given_weights_go_by_the_names(facts):
    objective = Classification(class_weights={"yes": 3, "no": 1}).with_dataset(facts(**IMBALANCED))
    assert list(objective.class_weights.items()) == [("no", 1), ("yes", 3)]
    numbered = Classification(class_weights={1: 2.0, 0: 1.0})
    assert list(numbered.with_dataset(facts(label_names=("0", "1"))).class_weights) == ["0", "1"]


def test_focal_loss_of_a_text_that_is_nearly_right():
    """(1 - 3/4)^2 of -ln(3/4), and (1 - 1/4)^2 of -ln(1/4)."""
    labels = torch.tensor([0, 0])
    expected = (-((1 / 4) ** 2) * math.log(3 / 4) - (3 / 4) ** 2 * math.log(1 / 4)) / 2
    assert trained(Classification(focal_gamma=2), THREE_TO_ONE, labels) == pytest.approx(expected)
    plain = trained(Classification(), THREE_TO_ONE, labels)
    assert trained(Classification(focal_gamma=0), THREE_TO_ONE, labels) == plain


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_of_what_is_certain_has_a_gradient(gamma):
    logits = torch.tensor([[60.0, 0.0], [0.0, 60.0]], requires_grad=True)
    objective = Classification(focal_gamma=gamma)
    objective.forward(Said(logits).train(), labelled(torch.tensor([0, 0]))).loss.backward()
    assert logits.grad.isfinite().all() and logits.grad[1].abs().sum() > 0


def test_logit_adjustment_adds_the_logarithm_of_shares(facts):
    """Shares 3/4 and 1/4: logits 0 and 0 become those of probabilities 3/4 and 1/4."""
    objective = Classification(logit_adjustment=1).with_dataset(facts(**IMBALANCED))
    assert dict(objective.label_shares) == {"no": 0.75, "yes": 0.25}
    even = torch.zeros(1, 2)
    assert trained(objective, even, torch.tensor([1])) == pytest.approx(-math.log(1 / 4))
    half = Classification(logit_adjustment=0.5).with_dataset(facts(**IMBALANCED))
    probability = 0.25**0.5 / (0.25**0.5 + 0.75**0.5)
    assert trained(half, even, torch.tensor([1])) == pytest.approx(-math.log(probability))
    result = objective.forward(Said(even).train(), labelled(torch.tensor([1])))
    assert result.outputs.tolist() == [[0.0, 0.0]]
    assert objective.describe().lines == (
        "logits are adjusted in training by 1 times the logarithm of the labels' shares: no 0.75, "
        "yes 0.25",
    )
    given = Classification(logit_adjustment=1, label_shares={"yes": 1, "no": 9})
    assert dict(given.with_dataset(facts(**IMBALANCED)).label_shares) == {"no": 0.9, "yes": 0.1}


def test_weights_of_a_yes(facts):
    """3 of 12 rows have the first label, 6 the second: 9 / 3 and 6 / 6."""
    known = facts(label_names=("a", "b"), label_counts=(3, 6), num_train_rows=12)
    objective = MultiLabel(pos_weight="balanced").with_dataset(known)
    assert dict(objective.pos_weight) == {"a": 3.0, "b": 1.0}
    logits, targets = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[1, 0]], dtype=torch.uint8)
    expected = (-3 * math.log(3 / 4) - math.log(1 / 2)) / 2
    assert trained(objective, logits, targets) == pytest.approx(expected)
    focal = MultiLabel(focal_gamma=1)
    expected = (-(1 / 4) * math.log(3 / 4) - (1 / 2) * math.log(1 / 2)) / 2
    assert trained(focal, logits, targets) == pytest.approx(expected)
    assert objective.describe().tags == {"objective/pos_weight": "a 3, b 1"}
    assert MultiLabel().with_dataset(known).describe() == ((), {})


@pytest.mark.parametrize(
    ("objective", "counts", "message"),
    [
        (
            Classification(class_weights={"no": 1}),
            (9, 3),
            "model.objective.class_weights: 'yes' has no number: expected a number for each of no, "
            "yes",
        ),
        (
            Classification(class_weights={"no": 1, "yes": 1, "nay": 1}),
            (9, 3),
            "model.objective.class_weights: 'nay' is none of the labels",
        ),
        (
            Classification(class_weights="balanced"),
            (12, 0),
            "model.objective.class_weights=balanced: no training row has the label yes, so nothing "
            "can be counted",
        ),
        (Classification(logit_adjustment=1), (12, 0), "no training row has the label yes"),
        (
            MultiLabel(pos_weight="balanced"),
            (12, 3),
            "model.objective.pos_weight=balanced: every training row has the label no",
        ),
    ],
)
def test_weights_that_do_not_fit_the_labels(objective, counts, message, facts):
    with pytest.raises(UserError) as error:
        objective.with_dataset(facts(**(IMBALANCED | {"label_counts": counts})))
    assert message in str(error.value)


def test_shares_without_an_adjustment_are_refused():
    with pytest.raises(UserError, match="label_shares goes with model.objective.logit_adjustment"):
        Classification(label_shares={"no": 0.5, "yes": 0.5})


def test_one_output_loses_what_two_with_the_same_gap_lose():
    """An output of ln 3 stands for probabilities 1/4 and 3/4."""
    logits, labels = torch.tensor([[math.log(3)], [0.0], [-math.log(3)]]), torch.tensor([1, 0, 1])
    result = Binary().forward(Said(logits).eval(), labelled(labels))
    expected = -(math.log(3 / 4) + math.log(1 / 2) + math.log(1 / 4)) / 3
    assert result.loss.item() == pytest.approx(expected) and result.num_targets == 3
    probabilities = Binary().to_predictions(result.outputs)
    assert probabilities[:, 1].tolist() == pytest.approx([3 / 4, 1 / 2, 1 / 4])
    two = Classification().forward(Said(result.outputs).eval(), labelled(labels))
    assert two.loss.item() == pytest.approx(result.loss.item())


def test_binary_knows_its_second_label_and_the_weight_of_it(facts):
    """9 rows of the first label and 3 of the second: 3 for each."""
    known = facts(**IMBALANCED)
    objective = Binary(pos_weight="balanced", focal_gamma=1).with_dataset(known)
    assert objective.pos_weight == 3.0
    assert objective.describe() == (
        ("the one output says 'yes', which weighs 3",),
        {"objective/positive": "yes", "objective/pos_weight": "3"},
    )
    logits, labels = torch.tensor([[math.log(3)], [0.0]]), torch.tensor([1, 0])
    expected = -(3 * (1 / 4) * math.log(3 / 4) + (1 / 2) * math.log(1 / 2)) / 2
    assert trained(objective, logits, labels) == pytest.approx(expected)
    assert Binary().with_dataset(known).describe().tags == {"objective/positive": "yes"}
    with pytest.raises(UserError, match=r"but the data have 3: a, b, c; model=classification has"):
        Binary().check_dataset(facts(label_names=("a", "b", "c")))
    with pytest.raises(UserError) as error:
        Binary(positive="no").check_dataset(known)
    assert str(error.value) == (
        "model.objective.positive=no: the second label is yes (data.label_names=[yes,no])"
    )
    with pytest.raises(UserError) as error:
        Binary(positive="spam").check_dataset(known)
    assert str(error.value) == (
        "model.objective.positive=spam: there is no such label; of no and yes the second one is yes"
    )


def test_metrics_of_the_second_label():
    """3, 2 and 1 against 2, 1 and -1: of 9 pairs, 6 are in order and 2 are equal. All but the last
    are predicted as the second label.
    """
    scores = torch.tensor([3.0, 2.0, 2.0, 1.0, 1.0, -1.0])
    outputs, targets = torch.stack([torch.zeros(6), scores], 1), torch.tensor([1, 1, 0, 1, 0, 0])
    values = computed(Binary(), 2, [(outputs[:4], targets[:4]), (outputs[4:], targets[4:])])
    assert values == pytest.approx(
        {"accuracy": 4 / 6, "f1": 2 * 3 / (2 * 3 + 2), "auroc": 7 / 9}
        | {"f1_macro": (6 / 8 + 2 / 4) / 2}
    )
    saturated = torch.tensor([[0.0, 40.0], [0.0, 41.0]])
    assert computed(Binary(), 2, [(saturated, torch.tensor([0, 1]))])["auroc"] == 1.0


def test_the_area_of_a_single_class_is_not_defined():
    area = Binary().build_metrics(2)["auroc"]
    area.update(torch.zeros(2, 2), torch.tensor([1, 1]))
    assert math.isnan(area.compute()) and area.undefined_reason == "all targets are equal"


def test_huber_counts_large_errors_by_their_size():
    """Errors 1 and 3 with a delta of 2: 1/2 and 2 * (3 - 1); in validation, 1 and 9."""
    logits, targets = torch.tensor([[1.0], [3.0]]), torch.zeros(2)
    objective = Regression(huber_delta=2)
    assert trained(objective, logits, targets) == pytest.approx((1 / 2 + 4) / 2)
    result = objective.forward(Said(logits).eval(), labelled(targets))
    assert result.loss.item() == pytest.approx((1 + 9) / 2)


# of four labels: beyond the first with 3/4, of these beyond the second with 1/2, and then 1/3
STEPS = torch.tensor([[math.log(3), 0.0, -math.log(2)]])
RANKS = [1 / 4, 3 / 8, 1 / 4, 1 / 8]


def test_steps_between_labels_give_their_probabilities():
    for label, probability in enumerate(RANKS):
        result = Ordinal().forward(Said(STEPS).train(), labelled(torch.tensor([label])))
        assert result.loss.item() == pytest.approx(-math.log(probability))
    assert Ordinal().to_predictions(result.outputs)[0].tolist() == pytest.approx(RANKS)
    huge = Ordinal().forward(Said(50 * STEPS).train(), labelled(torch.tensor([0])))
    assert huge.loss.item() == pytest.approx(50 * math.log(3))


def test_every_step_is_learnt_from_the_texts_that_came_to_it():
    logits = STEPS.clone().requires_grad_()
    Ordinal().forward(Said(logits).train(), labelled(torch.tensor([1]))).loss.backward()
    # beyond the first with 3/4 and right, beyond the second with 1/2 and wrong
    assert logits.grad[0].tolist() == pytest.approx([-1 / 4, 1 / 2, 0.0])


def test_metrics_of_ranks():
    """The median of 0.4, 0.25, 0.35 is the second label, though the first is likeliest."""
    scores = torch.tensor([[0.4, 0.25, 0.35], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.2, 0.7, 0.1]])
    outputs, targets = scores.log(), torch.tensor([1, 0, 1, 2])
    values = computed(Ordinal(), 3, [(outputs[:3], targets[:3]), (outputs[3:], targets[3:])])
    # predicted 1 0 2 1; squared distances 2 of 4 texts, and by chance (1*(4+1+1+1) ...) / 4
    chance = sum((one - other) ** 2 for one in (1, 0, 2, 1) for other in (1, 0, 1, 2)) / 4
    assert values == pytest.approx(
        # expected ranks 0.95 0.3 1.6 0.9 have the order 3 1 4 2, the right ones 2.5 1 2.5 4
        {"accuracy": 2 / 4, "mae": 2 / 4, "quadratic_kappa": 1 - 2 / chance}
        | {"spearman": (0.5 * 0 + -1.5 * -1.5 + 1.5 * 0 + -0.5 * 1.5) / math.sqrt(5 * 4.5)}
    )


def test_the_order_of_labels_must_be_known(facts):
    with pytest.raises(UserError) as error:
        Ordinal().check_dataset(facts(label_names=("bad", "good", "ok")))
    assert str(error.value) == (
        "data.label_names: the order of the labels is not known: bad, good, ok: expected all "
        "labels, from the lowest to the highest"
    )
    known = facts(label_names=("bad", "ok", "good"))
    declared = Ordinal(label_names=["bad", "ok", "good"])
    declared.check_dataset(known)
    assert declared.with_dataset(known).describe() == (
        ("order of the labels: bad < ok < good",),
        {"objective/label_order": "bad < ok < good"},
    )
    Ordinal().check_dataset(facts(label_names=("-1", "0.5", "2")))


# -- tags of words


def tagged(targets: list[int], places: list[int]) -> TaggedBatch:
    tokens = build_tokens(torch.arange(8), torch.tensor([5, 3]))
    return TaggedBatch(
        tokens,
        positions=torch.arange(len(places)),
        places=torch.tensor(places, dtype=torch.long),
        targets=torch.tensor(targets, dtype=torch.long),
        row_ids=torch.zeros(len(targets), dtype=torch.long),
    )


def test_tags_are_learnt_at_first_tokens_alone():
    """Two words of three have a token; a word without one is said to be no entity."""
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, math.log(2.0), 0.0]])
    encoder = Said(logits)
    result = TokenClassification().forward(encoder, tagged([1, 1, 2, -1], [0, 2]))
    assert result.num_targets == 2
    # ln 3 for the first, and for the last one of three with 1 of 4 parts
    assert float(result.loss) == pytest.approx((math.log(3) + math.log(4)) / 2)
    assert result.outputs.tolist() == [0, 0, 1, 0]
    assert result.targets.tolist() == [1, 1, 2, -1]


def test_no_words_give_a_loss_of_zero_with_a_gradient():
    logits = torch.zeros(2, 3, requires_grad=True)
    for batch, count in ((tagged([], []), 0), (tagged([1, -1], []), 2)):
        result = TokenClassification().forward(Said(logits), batch)
        assert (float(result.loss.detach()), result.num_targets) == (0.0, 0)
        assert len(result.outputs) == len(result.targets) == count
        result.loss.backward()
    assert not logits.grad.any()


def test_scores_of_entities_are_left_out_where_tags_are_no_entities(facts):
    derive = TokenClassification().derive_metrics
    assert derive({}, facts(label_names=("O", "B-A", "I-A"))) == {}
    assert all(map(math.isnan, derive({}, facts(label_names=("NOUN", "VERB"))).values()))
