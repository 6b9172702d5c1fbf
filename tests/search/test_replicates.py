"""Means over trials that repeat a setting, against numbers worked out by hand."""

from typing import Any

import pytest

from src.search.replicates import (
    MeanValue,
    build_setting_columns,
    describe_means,
    flatten_metrics,
    group_replicates,
    select_best_setting,
)
from src.search.trials import SweepSnapshot, TrialRecord
from src.search.view.html_report import render_note, render_page
from src.search.view.plots import plot_sweep


def finished(number: int, value: float, **params: Any) -> TrialRecord:
    named = {key.replace("__", "."): text for key, text in params.items()}
    return TrialRecord(number, "finished", named, (value,))


def sweep_of(rows: list[TrialRecord], keys: list[str], **other: Any) -> SweepSnapshot:
    return SweepSnapshot(
        **{
            "sweep": "1a2b" * 8,
            "name": "imdb",
            "state": "FINISHED",
            "rows": rows,
            "keys": keys,
            "monitors": ["val/accuracy"],
            "modes": ["max"],
            "taken_at": 1.0,
            **other,
        }
    )


def test_the_interval_of_three_values() -> None:
    mean = MeanValue.from_values([0.80, 0.82, 0.84])
    # Student's t with 2 degrees of freedom: 4.3027; times 0.02 / sqrt(3)
    assert mean == (
        3,
        pytest.approx(0.82),
        pytest.approx(0.02),
        pytest.approx(0.82 - 0.049683, abs=1e-6),
        pytest.approx(0.82 + 0.049683, abs=1e-6),
    )
    assert str(mean) == "0.82 (0.7703 to 0.8697, 3 trials)"
    assert MeanValue.from_values([0.5]) == (1, 0.5, None, None, None)


def test_seeds_alone_are_one_setting() -> None:
    rows = [finished(number, 0.8 + number / 50, seed=str(number)) for number in range(3)]
    rows += [
        TrialRecord(3, "failed", {"seed": "3"}),
        TrialRecord(4, "running", {"seed": "4"}, None, {1: 0.1}),
    ]
    sweep = sweep_of(rows, ["seed"], test_metric="test/accuracy", test_values={0: 0.7, 2: 0.9})
    (setting,) = group_replicates(sweep)
    assert (setting.params, len(setting.trials)) == ({}, 3)
    assert describe_means(rows, ["val/accuracy"]) == (
        "mean val/accuracy 0.82 (0.7703 to 0.8697, 3 trials)"
    )
    assert describe_means(rows[:1], ["val/accuracy"]) == ""
    logged = flatten_metrics(setting.metrics)
    assert logged["mean/val/accuracy"] == pytest.approx(0.82)
    assert logged["sd/val/accuracy"] == pytest.approx(0.02)
    assert logged["mean/test/accuracy"] == pytest.approx(0.8)
    assert "**mean val/accuracy**: 0.82 (0.7703 to 0.8697, 3 trials)" in render_note(sweep)
    page = render_page(sweep, {})
    assert "Means over repetitions" in page and "0.82 (0.7703 to 0.8697, 3 trials)" in page
    assert "replicates" in plot_sweep(sweep, log_keys=set(), importance={})


def test_settings_are_compared_by_their_means() -> None:
    """The best trial is one of a setting whose mean is the worse one."""
    values = {("1e-5", "1"): 0.9, ("1e-5", "2"): 0.5, ("1e-4", "1"): 0.8, ("1e-4", "2"): 0.8}
    rows = [
        finished(number, value, model__optim__lr=rate, seed=seed)
        for number, ((rate, seed), value) in enumerate(values.items())
    ]
    sweep = sweep_of(rows, ["model.optim.lr", "seed"])
    settings = group_replicates(sweep)
    best = select_best_setting(settings, sweep)
    assert best is not None and best.params == {"model.optim.lr": "1e-4"}
    columns = build_setting_columns(settings, sweep)
    assert columns["model.optim.lr"] == ["1e-5", "1e-4"]
    assert columns["val/accuracy mean"] == pytest.approx([0.7, 0.8])
    assert "**Best of 2 settings by its mean**" in render_note(sweep)
    assert select_best_setting([], sweep) is None


def test_a_learning_curve_is_a_line_over_numbers() -> None:
    rows = [
        finished(number, 0.5 + float(share) / 4, data__train_share=share, seed=seed)
        for number, (share, seed) in enumerate(
            (share, seed) for share in ("0.1", "0.2", "0.5", "1.0") for seed in "12"
        )
    ]
    sweep = sweep_of(rows, ["data.train_share", "seed"])
    figure = plot_sweep(sweep, log_keys=set(), importance={})["replicates"]
    (axes,) = figure.axes
    means = axes.lines[-1]
    assert list(means.get_xdata()) == [0.1, 0.2, 0.5, 1.0]
    assert list(means.get_ydata()) == pytest.approx([0.525, 0.55, 0.625, 0.75])
    assert axes.get_xscale() == "log"


def test_a_sweep_without_repetitions_has_no_settings() -> None:
    sweep = sweep_of([finished(0, 0.5, model__freeze="1")], ["model.freeze"])
    assert group_replicates(sweep) == []
    assert "mean" not in render_note(sweep)
    assert "replicates" not in plot_sweep(sweep, log_keys=set(), importance={})
