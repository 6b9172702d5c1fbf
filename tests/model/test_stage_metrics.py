"""Metrics of the config, in one stage."""

import math
from types import SimpleNamespace

import pytest
import torch
from torchmetrics import CatMetric, Metric
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    BinaryF1Score,
    MulticlassAUROC,
    MultilabelAUROC,
)
from torchmetrics.regression import ExplainedVariance, R2Score

from src.core.user_errors import UserError
from src.model.objectives import Objective, ObjectiveOutput
from src.model.objectives.classification import Classification
from src.model.stage_metrics import StageMetrics


def build(metric: Metric, objective: Objective | None = None) -> StageMetrics:
    config = SimpleNamespace(build=lambda: metric)
    objective = objective or Classification()
    return StageMetrics("val", objective, {"mine": config}, 2)  # type: ignore[dict-item]


def take_batch(metrics: StageMetrics) -> None:
    logits, labels = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
    metrics.update(ObjectiveOutput(torch.tensor(0.5), 4, logits, labels))


def test_a_metric_that_takes_other_shapes_is_named() -> None:
    with pytest.raises(UserError) as fault:
        take_batch(build(BinaryF1Score()))
    assert str(fault.value).startswith(
        "model.metrics.mine: outputs and targets of shapes [4, 2] and [4]: RuntimeError: "
    )


def test_a_metric_of_several_numbers_is_named() -> None:
    class Counts(CatMetric):
        def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
            super().update(targets)

    metrics = build(Counts())
    take_batch(metrics)
    with pytest.raises(UserError, match=r"^model\.metrics\.mine: its value, where a single number"):
        metrics.compute()


def test_a_metric_that_raises_for_few_rows_is_undefined() -> None:
    class NeedsMore(CatMetric):
        def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
            super().update(targets)

        def compute(self) -> torch.Tensor:
            raise ValueError("needs at least five rows")

    metrics = build(NeedsMore())
    take_batch(metrics)
    value = metrics.compute()["mine"]
    assert value != value
    assert "needs at least five rows" in metrics.explain_undefined("mine", value)


@pytest.mark.parametrize(
    ("metric", "outputs", "targets", "reason"),
    [
        (ExplainedVariance(), [1.0], [2.0], "no two targets differ"),
        (ExplainedVariance(), [1.0, 2.0], [2.0, 3.0], ""),
        (R2Score(), [1.0, 2.0], [3.0, 3.0], "no two targets differ"),
        (BinaryAUROC(), [0.2, 0.7], [0, 0], "no rows in, or none outside of, class 1"),
        (BinaryAUROC(), [0.2, 0.7], [1, 1], "no rows in, or none outside of, class 1"),
        (BinaryAUROC(), [0.2, 0.7], [0, 1], ""),
        (BinaryAveragePrecision(), [0.2, 0.7], [1, 1], ""),
        (MulticlassAUROC(3), [[0.2, 0.7, 0.1]] * 2, [0, 1], "of, class 2"),
        (MulticlassAUROC(2), [[0.2, 0.8], [0.9, 0.1]], [1, 0], ""),
        (MultilabelAUROC(2), [[0.2, 0.8], [0.9, 0.1]], [[1, 0], [0, 0]], "of, class 1"),
    ],
)
def test_a_zero_that_is_no_result_is_undefined(
    metric: Metric, outputs: list[object], targets: list[object], reason: str
) -> None:
    # any one whose own metrics take these shapes
    metrics = build(metric, SimpleNamespace(build_metrics=lambda _: {}))  # type: ignore[arg-type]
    for _ in range(2):
        given = torch.tensor(outputs), torch.tensor(targets)
        metrics.update(ObjectiveOutput(torch.tensor(0.5), len(targets), *given))
        assert math.isnan(metrics._compute_one("mine")) is bool(reason)
        assert not reason or reason in metrics.explain_undefined("mine", math.nan)
        metrics.reset()
