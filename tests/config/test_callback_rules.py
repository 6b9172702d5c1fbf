"""Callbacks that do not go with a run are refused before it opens, and the remedy that is named
works.
"""

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from src.config import callback_rules
from src.config.callback_rules import find_callback_errors
from src.config.override_errors import find_override_errors
from src.pipeline.run import read_task_schema

_THEIRS = "_target_=lightning.pytorch.callbacks."


def _errors(*typed: str) -> list[str]:
    return [str(error) for error in find_override_errors(list(typed), read_task_schema())]


@pytest.mark.parametrize("bar", ["RichProgressBar", "TQDMProgressBar"])
def test_a_second_progress_bar_is_refused_and_the_remedy_works(bar: str) -> None:
    typed = f"+callbacks.bar.{_THEIRS}{bar}"
    assert _errors(typed) == [
        "callbacks.progress and callbacks.bar both show the progress, and a run has one such "
        "callback; callbacks.progress=null takes the program's out"
    ]
    assert _errors(typed, "callbacks.progress=null") == []
    assert _errors(typed, "~callbacks.progress") == []


def test_two_bars_of_libraries(composed: Callable[..., dict[str, Any]]) -> None:
    bars = [f"+callbacks.{name}.{_THEIRS}TQDMProgressBar" for name in ("a", "b")]
    assert _errors(*bars, "callbacks.progress=null") == [
        "callbacks.a and callbacks.b both show the progress, and a run has one such callback; "
        "leave one out"
    ]


def test_two_timers() -> None:
    timer = [f"+callbacks.t.{_THEIRS}Timer", "+callbacks.t.duration='00:00:10:00'"]
    assert _errors(*timer) == []
    assert _errors(*timer, "trainer.max_minutes=3") == [
        "callbacks.t and trainer.max_minutes both end the training after some time; "
        "trainer.max_minutes=null takes the latter back"
    ]
    another = [f"+callbacks.u.{_THEIRS}Timer"]
    assert "callbacks.t and callbacks.u both end" in _errors(*timer, *another)[0]


@pytest.mark.parametrize("name", sorted(callback_rules._REFUSED))
def test_what_works_against_a_run_is_refused(name: str) -> None:
    module, _, cls = name.rpartition(".")
    # the definition is where the rule looks for it
    assert getattr(importlib.import_module(module), cls).__module__ == module
    [error] = find_callback_errors({"callbacks": {"x": {"_target_": f"{_THEIRS[9:]}{cls}"}}})
    assert error.key == "callbacks.x" and str(error).startswith(f"callbacks.x: {cls} ")
    assert error.hint


@pytest.mark.parametrize(
    "cls",
    [
        *("LearningRateMonitor", "DeviceStatsMonitor", "ModelSummary", "RichModelSummary"),
        *("ModelCheckpoint", "EMAWeightAveraging", "Timer"),
    ],
)
def test_what_goes_with_a_run_is_let_through(cls: str) -> None:
    assert _errors(f"+callbacks.x.{_THEIRS}{cls}") == []
