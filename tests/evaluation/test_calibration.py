"""How far probabilities are from what happens, and the temperature that mends it."""

import numpy as np
import pytest
import torch

from src.evaluation.calibration import (
    PRIOR_DEVIATION,
    apply_temperature,
    fit_temperature,
    measure_calibration,
    to_log_probabilities,
)


def draw(rows: int, classes: int, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Truths that follow softmax(outputs), and the probabilities of outputs times a factor."""
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(rows, classes, generator=generator) * 2
    truths = torch.multinomial(outputs.softmax(1), 1, generator=generator)[:, 0]
    return (outputs * factor).softmax(1), truths


def test_four_rows_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]])
    found = measure_calibration(probabilities, torch.tensor([0, 1, 1, 1]))
    # bins of 1/15: 0.9 lies in the 14th, half of it right, and 0.7 in the 11th, all right
    assert found.rows == [2, 2]
    assert found.low == pytest.approx([10 / 15, 13 / 15])
    assert found.confidence == pytest.approx([0.7, 0.9])
    assert found.right == [1.0, 0.5]
    assert found.error == pytest.approx((0.3 + 0.4) / 2)
    assert found.brier == pytest.approx((0.02 + 1.62 + 0.18 + 0.18) / 4)
    expected = -(np.log(0.9) + np.log(0.1) + 2 * np.log(0.7)) / 4
    assert found.log_loss == pytest.approx(expected)


def test_decisions_of_many_labels_by_hand():
    probabilities = torch.tensor([[0.8, 0.2], [0.8, 0.2]])
    found = measure_calibration(probabilities, torch.tensor([[1, 0], [0, 0]]))
    assert found.rows == [2, 2]
    assert found.right == [0.0, 0.5]
    assert found.error == pytest.approx((0.2 + 0.3) / 2)
    assert found.brier == pytest.approx((0.04 + 0.04 + 0.64 + 0.04) / 4)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_error_is_that_of_torchmetrics(classes: int):
    from torchmetrics.functional.classification import multiclass_calibration_error

    probabilities, truths = draw(1000, classes, 1.7)
    theirs = multiclass_calibration_error(probabilities, truths, classes, n_bins=15)
    assert measure_calibration(probabilities, truths).error == pytest.approx(
        theirs.item(), abs=1e-6
    )


def test_the_temperature_of_one_confidence_by_hand():
    # 75 % right at 0.9: sigmoid(log(9) / T) = 0.75 where T = log(9) / log(3) = 2
    probabilities = torch.tensor([[0.1, 0.9]]).repeat(100_000, 1)
    truths = torch.tensor([1, 1, 1, 0]).repeat(25_000)
    fit = fit_temperature(probabilities, truths)
    assert fit.temperature == pytest.approx(2.0, abs=1e-3)
    assert fit.loss_after < fit.loss_before
    tempered = apply_temperature(probabilities, fit.temperature, many=False)
    assert tempered[0].tolist() == pytest.approx([0.25, 0.75], abs=1e-3)
    # the same as decisions
    many = fit_temperature(probabilities[:, 1:], truths[:, None])
    assert many.temperature == pytest.approx(2.0, abs=1e-3)
    decided = apply_temperature(probabilities[:, 1:], many.temperature, many=True)
    assert decided[0].item() == pytest.approx(0.75, abs=1e-3)


def test_few_rows_move_the_temperature_little():
    # seven rows of a model that is right about itself; the least loss is at a temperature of 0.04
    probabilities = torch.tensor([0.51, 0.52, 0.53, 0.54, 0.55, 0.56, 0.51])
    rows = torch.stack([1 - probabilities, probabilities], 1)
    truths = torch.tensor([1, 1, 1, 1, 1, 1, 0])
    fit = fit_temperature(rows, truths)
    assert 0.5 < fit.temperature < 1
    assert fit.loss_after < fit.loss_before
    # 8 rows at 0.9 of which 6 are right: where the slopes of loss and prior meet
    few = fit_temperature(torch.tensor([[0.1, 0.9]] * 8), torch.tensor([1, 1, 1, 0] * 2))
    margin = np.log(9) / few.temperature
    slope = 8 * margin * (1 / (1 + np.exp(-margin)) - 0.75)
    assert slope == pytest.approx(np.log(few.temperature) / PRIOR_DEVIATION**2, abs=1e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_temperature_is_that_of_scikit_learn(classes: int):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Outputs(ClassifierMixin, BaseEstimator):
        """A model whose outputs are its inputs."""

        def fit(self, inputs, truths):
            self.classes_ = np.unique(truths)
            return self

        def predict(self, inputs):
            return self.classes_[inputs.argmax(1)]

        def decision_function(self, inputs):
            return inputs[:, 1] - inputs[:, 0] if len(self.classes_) == 2 else inputs

    probabilities, truths = draw(2000, classes, 2.5)
    outputs = to_log_probabilities(probabilities).double().numpy()
    model = FrozenEstimator(Outputs().fit(outputs, truths.numpy()))
    theirs = CalibratedClassifierCV(model, method="temperature").fit(outputs, truths.numpy())
    fit = fit_temperature(probabilities, truths)
    assert fit.temperature == pytest.approx(2.5, rel=0.1)
    ours = apply_temperature(probabilities, fit.temperature, many=False)
    np.testing.assert_allclose(ours.numpy(), theirs.predict_proba(outputs), atol=2e-3)
    before, after = (measure_calibration(values, truths).error for values in (probabilities, ours))
    assert after < before / 3


def test_where_everything_is_right_no_temperature_is_fitted():
    fit = fit_temperature(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))
    assert (fit.temperature, fit.reason) == (1.0, "there is no mistake among the rows")
    # nothing is known, so the best temperature is without end
    blind = fit_temperature(torch.tensor([[0.9, 0.1]] * 100_000), torch.tensor([0, 1] * 50_000))
    assert blind.temperature == 1.0
    assert blind.reason.startswith("the best one is beyond")


def test_probabilities_that_were_rounded_stay_finite():
    probabilities = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.4]])
    truths = torch.tensor([0, 1, 0])
    assert np.isfinite(measure_calibration(probabilities, truths).log_loss)
    assert np.isfinite(fit_temperature(probabilities, truths).loss_after)
    assert torch.isfinite(apply_temperature(probabilities, 2.0, many=True)).all()
