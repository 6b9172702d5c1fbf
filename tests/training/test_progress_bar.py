"""What is shown of a training while it goes on."""

import io
import os
import re
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from src.training.progress import Bar, fit_figures

FIGURES = {"train/loss": 0.49812, "val/accuracy": 0.8123, "tokens/s": 24_000.0, "val/loss": 0.51234}


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (200, "x  train/loss 0.4981  val/accuracy 0.8123  tokens/s 24,000  val/loss 0.5123"),
        (62, "x  train/loss 0.4981  val/accuracy 0.8123  tokens/s 24,000"),
        (40, "x  train/loss 0.4981"),
        (5, "x"),
    ],
)
def test_figures_are_shown_whole_or_not_at_all(columns: int, text: str) -> None:
    assert fit_figures("x", FIGURES, columns) == text


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        (
            80,
            "epoch 1 of 3  120/375  N min left  train/loss 0.4981  val/accuracy 0.8123",
        ),
        (
            160,
            "███░░░░░░░  epoch 1 of 3  120/375  N min left  train/loss 0.4981  "
            "val/accuracy 0.8123  tokens/s 24,000  val/loss 0.5123",
        ),
    ],
)
def test_the_bar_holds_the_time_left_of_the_whole_run_and_what_is_most_important(
    columns: int, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((columns, 24)))
    clock = [1.0]
    monkeypatch.setattr("src.training.progress.time", SimpleNamespace(monotonic=lambda: clock[0]))
    trainer = cast(
        Any,
        SimpleNamespace(
            is_global_zero=True,
            sanity_checking=False,
            global_step=0,
            current_epoch=0,
            num_training_batches=250,
            accumulate_grad_batches=2,
            checkpoint_callback=SimpleNamespace(monitor="val/accuracy"),
            # in the order in which they were logged
            progress_bar_metrics={
                name: FIGURES[name]
                for name in ("val/loss", "tokens/s", "val/accuracy", "train/loss")
            },
        ),
    )
    module = cast(Any, SimpleNamespace(total_steps=375))
    bar = Bar()
    bar.on_train_start(trainer, module)
    trainer.global_step, clock[0] = 120, 121.0
    bar.on_train_batch_end(trainer, module, None, None, 0)
    bar._close()
    assert terminal.getvalue().endswith("\n")
    states = [state.strip() for state in terminal.getvalue().split("\r")]
    assert all(len(state) < columns for state in states)
    assert re.sub(r"\d+ min", "N min", states[-1]) == wanted
