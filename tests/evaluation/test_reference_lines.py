"""The reference lines of a run: logged once, compared with the model, kept for the next run."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from src.config.build_nodes import build_node
from src.evaluation import linear_model
from src.evaluation.reference_lines import ReferenceLines

Compose = Callable[..., dict[str, Any]]


TOPICS = ("+experiment=topics", "data.source.test=80", "data.source.validation=40")
RATINGS = ("+experiment=ratings", "data.source.test=80", "data.source.validation=40")


class MetricRecorder:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.metrics |= metrics


def judge(
    composed: Compose,
    cache: Path,
    *overrides: str,
    reached: float = 1.0,
    measured: str = "accuracy",
    **settings: Any,
) -> MetricRecorder:
    """Call the callback as a Trainer does at the end of a test."""
    config = composed(f"data.cache={cache}", "data.source.train=60", *overrides)
    datamodule = build_node(config["data"]).build(None)
    datamodule.prepare_data()
    recorder = MetricRecorder()
    trainer = SimpleNamespace(
        datamodule=datamodule,
        is_global_zero=True,
        loggers=[recorder],
        global_step=7,
        callback_metrics={f"test/{measured}": torch.tensor(reached)},
    )
    objective = build_node(config["model"]).objective
    (callback,) = ReferenceLines(**settings).build(cache)
    callback.on_fit_end(trainer, SimpleNamespace(objective=objective))
    callback.on_test_end(trainer, SimpleNamespace(objective=objective))
    return recorder


def test_lines_are_logged_said_and_kept(
    composed: Compose,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics = judge(composed, tmp_path).metrics
    assert set(metrics) == {
        f"reference/{name}/{split}/{metric}"
        for name in ("majority", "linear")
        for split in ("val", "test")
        for metric in ("accuracy", "f1_macro")
    }
    assert metrics["reference/majority/test/accuracy"] == 0.5
    said = capsys.readouterr().out
    assert "reference test/accuracy: most frequent class 0.5, logistic regression on TF-IDF" in said
    assert "not better" not in said

    # the second run of the same rows finds them
    monkeypatch.delattr(linear_model, "score_constant")
    assert judge(composed, tmp_path, reached=0.25).metrics == metrics
    assert "  this model is not better: test/accuracy 0.25\n" in capsys.readouterr().out


def test_majority_alone(composed: Compose, tmp_path: Path) -> None:
    metrics = judge(composed, tmp_path, models="majority").metrics
    assert {name.split("/")[1] for name in metrics} == {"majority"}


def test_several_labels(
    composed: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = judge(composed, tmp_path, *TOPICS, reached=1.0, measured="f1_macro").metrics
    assert set(metrics) == {
        f"reference/{name}/{split}/{metric}"
        for name in ("majority", "linear")
        for split in ("val", "test")
        for metric in ("f1_micro", "f1_macro", "subset_accuracy")
    }
    said = capsys.readouterr().out
    assert "reference test/f1_macro: most frequent labels 0." in said
    assert "not better" not in said


def test_numbers(composed: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = judge(composed, tmp_path, *RATINGS, reached=100.0, measured="loss").metrics
    assert "reference/linear/test/pearson" in metrics
    assert "reference/mean/test/pearson" not in metrics
    rmse = metrics["reference/mean/test/rmse"]
    said = capsys.readouterr().out
    assert f"reference test/rmse: mean of the training rows {rmse:.4g}, ridge regression" in said
    assert "  this model is not better: test/rmse 10\n" in said
    judge(composed, tmp_path, *RATINGS, reached=0.0001, measured="loss")
    assert "not better" not in capsys.readouterr().out


def test_other_tasks_have_none(composed: Compose, tmp_path: Path) -> None:
    recorder = judge(composed, tmp_path, "model=masked_lm", "data=generated_text")
    assert recorder.metrics == {}
