"""What a start cost is logged once, after the first optimizer step of a process."""

from types import SimpleNamespace
from typing import Any

import pytest

from src.core import startup
from src.training import training_metrics as module
from src.training.training_metrics import log_startup_time, process_cost


def test_a_start_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_first_step_done", False)
    logged: list[Any] = []
    [callback] = log_startup_time(logged.append)
    # two batches without an update: gradients are accumulated
    for step in (0, 0, 1, 2):
        callback.on_train_batch_end(SimpleNamespace(global_step=step), None, None, None, 0)  # type: ignore[arg-type]
    assert len(logged) == 1
    assert set(logged[0]) == {"system/start_seconds", "system/start_processor_seconds"}
    # the next run of a multirun
    assert log_startup_time(logged.append) == []


def test_a_start_costs_time() -> None:
    assert all(value > 0 for value in process_cost().values())


def test_the_stand_in_is_the_real_module_for_all_but_one_name() -> None:
    import scipy.signal

    stand_in = startup._LazyModule("scipy.signal")
    assert stand_in.hamming is None and stand_in.convolve is scipy.signal.convolve
    assert not hasattr(stand_in, "__path__")


def test_a_module_that_is_there_stays() -> None:
    import sys

    import scipy.signal

    startup.import_lightning()
    assert sys.modules["scipy.signal"] is scipy.signal
