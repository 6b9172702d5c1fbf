"""Correlations against scipy's, and where there is none."""

import pytest
import torch
from scipy import stats

from src.model.metrics.correlation import Correlation, explain_undefined


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
@pytest.mark.parametrize("count", [2, 7, 300])
def test_a_correlation_is_that_of_scipy(kind, count):
    generator = torch.Generator().manual_seed(count)
    targets = torch.randint(0, 5, (count,), generator=generator).float()
    targets[:2] = torch.tensor([1.0, 600.0])
    predictions = targets + torch.randn(count, generator=generator)
    metric = Correlation(kind)
    for begin in range(0, count, 100):
        metric.update(predictions[begin : begin + 100], targets[begin : begin + 100])
    expected = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[kind]
    value = expected(predictions.double().numpy(), targets.double().numpy()).statistic
    assert float(metric.compute()) == pytest.approx(value, abs=1e-12)
    assert metric.undefined_reason is None


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
@pytest.mark.parametrize(
    "predictions, targets, reason",
    [
        ([1.0, 2.0], [4.0, 4.0], "all targets are equal"),
        ([2.0, 2.0], [4.0, 5.0], "all predictions are equal"),
        ([2.0], [4.0], "rows: 1"),
        ([], [], "rows: 0"),
        ([float("nan"), 1.0], [4.0, 5.0], "not all predictions are numbers"),
    ],
)
def test_where_there_is_no_correlation(kind, predictions, targets, reason):
    metric = Correlation(kind)
    metric.update(torch.tensor(predictions), torch.tensor(targets))
    assert metric.compute().isnan() and metric.undefined_reason == reason
    assert explain_undefined(torch.tensor(predictions), torch.tensor(targets)) == reason
