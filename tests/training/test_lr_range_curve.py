"""The learning-rate range test: rates, smoothing, the suggestion, where it ends."""

import math
from pathlib import Path

import pytest

from src.training.lr_range import LrRangeCallback, LrRangeCurve, smooth_losses
from tests.training.small_trainings import LABELLED, Compose, train


def test_averages_are_corrected_for_their_beginning() -> None:
    # weights 0.1 * 0.9 and 0.1, over their sum 0.19
    assert smooth_losses([3.0, 1.0]) == pytest.approx([3.0, (0.09 * 3 + 0.1 * 1) / 0.19])
    assert smooth_losses([2.0] * 50) == pytest.approx([2.0] * 50)


def curve_of(losses: list[float]) -> LrRangeCurve:
    curve = LrRangeCurve()
    for step, loss in enumerate(losses):
        curve.add(10 ** (-6 + step / 20), loss)
        if curve.has_diverged:
            break
    return curve


def test_the_steepest_fall_is_suggested_and_a_rise_ends_the_test() -> None:
    flat, fall = [1.0] * 40, [1.0 - 0.09 * step for step in range(11)]
    rise = [0.1 * 1.5**step for step in range(40)]
    curve = curve_of([*flat, *fall, *rise])
    assert curve.has_diverged and len(curve.losses) < 91
    suggested = curve.suggest_rate()
    assert suggested is not None
    # the smoothed loss falls behind the loss by some steps
    assert 10 ** (-6 + 44 / 20) < suggested < 10 ** (-6 + 54 / 20)
    assert suggested <= curve.rates[curve.smoothed.index(min(curve.smoothed))]


def test_nothing_is_suggested_where_the_loss_never_falls() -> None:
    assert curve_of([1.0 + step / 100 for step in range(60)]).suggest_rate() is None
    assert curve_of([3.0, 2.0, 1.0]).suggest_rate() is None
    assert curve_of([1.0] * 30 + [math.nan]).has_diverged


def test_rates_rise_by_a_factor_and_keep_their_ratios(composed: Compose, tmp_path: Path) -> None:
    config = composed(
        *LABELLED,
        "trainer.max_epochs=null",
        "trainer.max_steps=6",
        "model.optim.lr=1e-3",
        "model.optim.head_lr=3e-3",
        f"data.cache={tmp_path}/cache",
    )
    curve = LrRangeCurve()
    rising = LrRangeCallback(lowest=1e-5, highest=1.0, steps=6, optim_lr=1e-3, curve=curve)
    made = train(config, tmp_path, rising, keep=None)
    assert curve.rates == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0])
    assert all(map(math.isfinite, curve.losses)) and made.trainer.global_step == 6
    # nothing was validated
    assert not any(key.startswith("val/") for key, _ in made.points.points)
