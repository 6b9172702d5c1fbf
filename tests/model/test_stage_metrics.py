"""Metrics of the config, in one stage."""

from types import SimpleNamespace

import pytest
import torch
from torchmetrics import CatMetric, Metric
from torchmetrics.classification import BinaryF1Score

from src.core.user_errors import UserError
from src.model.objectives import ObjectiveOutput
from src.model.objectives.classification import Classification
from src.model.stage_metrics import StageMetrics


def build(metric: Metric) -> StageMetrics:
    config = SimpleNamespace(build=lambda: metric)
    return StageMetrics("val", Classification(), {"mine": config}, 2)  # type: ignore[dict-item]


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
