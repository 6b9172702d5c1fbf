"""The processes of trials: each begins once, its end is told, and nothing of it is ever left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from src.search.workers import Ended, Workers

TASK = "tests.search.stand_in"
PATIENCE_SECONDS = 60.0
COORDINATOR = """
import sys, time
from src.search.workers import Workers
with Workers(warm={warm}, task="tests.search.stand_in") as workers:
    for number in (0, 1):
        config = {{"do": "wait", "begun": f"begun-{{number}}"}}
        workers.start(number, {{"trial": "t", "config": config, "environment": {{}}, "log": f"{{number}}.log"}})
    while True:
        workers.wait(60)
"""


@pytest.fixture(params=[True, False], ids=["warm", "cold"])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    with Workers(warm=request.param, task=TASK) as entered:
        yield entered
        began = [process for process in entered.running.values() if process]
    assert not any(_lives(process) for process in began)


@pytest.fixture
def warm() -> Iterator[Workers]:
    with Workers(task=TASK) as entered:
        yield entered


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def make(do: str, log: str = "log", environment: dict[str, str] | None = None, **config: Any) -> dict[str, Any]:
        config |= {"do": do, "begun": str(tmp_path / f"begun-{log}")}
        log = str(tmp_path / "logs" / log)
        return {"trial": "a trial", "config": config, "environment": environment or {}, "log": log}

    return make


def _lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(due: Callable[[], Any]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not due():
        assert time.monotonic() < until
        time.sleep(0.01)


def _all(workers: Workers, count: int) -> dict[int, int]:
    ended: list[Ended] = []
    while len(ended) < count:
        found = workers.wait(PATIENCE_SECONDS)
        assert found, f"nothing has ended but {ended}"
        ended += found
    return {each.number: each.code for each in ended}


def _begun(workers: Workers, *files: Path) -> None:
    """Wait for trials to have begun, and to be known."""

    def due() -> bool:
        assert workers.wait(0) == []
        return all(each.exists() and each.read_text() for each in files) and all(workers.running.values())

    _until(due)


def test_ends(workers: Workers, order: Any) -> None:
    for number, do in enumerate(("end", "fail", "leave", "die")):
        workers.start(number, order(do, f"{number}.log", code=0))
    workers.start(4, order("end", "4.log", code=75))
    assert _all(workers, 5) == {0: 0, 1: 1, 2: 4, 3: -9, 4: 75}
    assert workers.running == {}


def test_memory_of_a_trial_is_told(workers: Workers, order: Any) -> None:
    workers.start(0, order("end", code=0))
    ended = workers.wait(PATIENCE_SECONDS)[0]
    assert ended.peak_bytes is not None and 2**20 < ended.peak_bytes < 2**31


def test_output_is_added_to_the_log(workers: Workers, order: Any, tmp_path: Path) -> None:
    for number in (0, 1):
        workers.start(number, order("end", code=0))
        _all(workers, 1)
    assert (tmp_path / "logs" / "log").read_text() == "to stdout\nto stderr\nof a child\n" * 2


def test_a_failure_shows_its_traceback(workers: Workers, order: Any, tmp_path: Path) -> None:
    workers.start(0, order("fail"))
    _all(workers, 1)
    assert (tmp_path / "logs" / "log").read_text().endswith("ValueError: no such thing\n")


def test_surroundings_of_a_trial(workers: Workers, order: Any, tmp_path: Path) -> None:
    workers.start(0, order("tell", "0.log", {"SHARE": "two"}))
    workers.start(1, order("tell", "1.log", {"SHARE": "three"}))
    _all(workers, 2)
    logs = [(tmp_path / "logs" / f"{number}.log").read_text() for number in (0, 1)]
    assert logs == [f"a trial {share} True  ['MainThread', 'lifeline']\n" for share in ("two", "three")]


def test_one_end_wakes_while_others_go_on(workers: Workers, order: Any, tmp_path: Path) -> None:
    workers.start(0, order("wait", "0.log"))
    workers.start(1, order("end", "1.log", code=0))
    assert _all(workers, 1) == {1: 0}
    assert list(workers.running) == [0]


def test_signals_to_one_and_to_all(workers: Workers, order: Any, tmp_path: Path) -> None:
    for number in (0, 1, 2):
        workers.start(number, order("wait", str(number)))
    _begun(workers, *(tmp_path / f"begun-{number}" for number in (0, 1, 2)))
    workers.send(signal.SIGINT, 1)
    assert _all(workers, 1) == {1: 130}
    workers.send(signal.SIGTERM)
    assert _all(workers, 2) == {0: 143, 2: 143}
    assert (tmp_path / "logs" / "1").read_text() == "heard SIGINT\n"


def test_a_trial_that_has_not_begun_hears_a_signal_too(workers: Workers, order: Any) -> None:
    _until(lambda: workers.wait(0.01) == [] and workers._ready)
    workers.start(0, order("wait"))
    workers.send(signal.SIGTERM)
    assert _all(workers, 1)[0] in (143, -signal.SIGTERM)


def test_a_signal_before_imports_are_done_waits_for_nothing(warm: Workers, order: Any, tmp_path: Path) -> None:
    warm.start(0, order("wait", "0"))
    warm.send(signal.SIGINT)
    assert _all(warm, 1)[0] == -signal.SIGINT
    warm.start(1, order("end", "1", code=0))  # another process is begun for it
    assert _all(warm, 1) == {1: 0}


def test_kill_ends_trials_that_would_not(workers: Workers, order: Any, tmp_path: Path) -> None:
    workers.start(0, order("stay", "0"))
    workers.start(1, order("stay", "1"))
    _begun(workers, tmp_path / "begun-0", tmp_path / "begun-1")
    workers.kill()
    assert _all(workers, 2) == {0: -9, 1: -9}


def test_leaving_ends_what_runs(order: Any, tmp_path: Path) -> None:
    with Workers(task=TASK) as workers:
        workers.start(0, order("wait"))
        _begun(workers, tmp_path / "begun-log")
        process = workers.running[0]
    assert not _lives(process)
    assert (tmp_path / "logs" / "log").read_text() == "heard SIGTERM\n"


def test_leaving_does_not_wait_for_the_deaf(order: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_GRACE_SECONDS", "0.2")
    with Workers(task=TASK) as workers:
        workers.start(0, order("stay"))
        _begun(workers, tmp_path / "begun-log")
        process = workers.running[0]
    assert not _lives(process)


def test_helpers_end_with_their_trial_and_a_courier_delivers(workers: Workers, order: Any, tmp_path: Path) -> None:
    delivered, helper = tmp_path / "delivered", tmp_path / "helper"
    workers.start(0, order("help_oneself", delivered=str(delivered), helper=str(helper)))
    assert _all(workers, 1) == {0: 3}
    assert not _lives(int(helper.read_text()))
    _until(delivered.exists)


def test_wake_from_a_handler(workers: Workers, order: Any, tmp_path: Path) -> None:
    workers.start(0, order("wait"))
    _begun(workers, tmp_path / "begun-log")
    workers.wake()
    assert workers.wait(PATIENCE_SECONDS) == []
    assert list(workers.running) == [0]


@pytest.mark.parametrize("warm", [True, False])
def test_a_coordinator_that_is_killed(warm: bool, tmp_path: Path) -> None:
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    coordinator = subprocess.Popen([sys.executable, "-c", COORDINATOR.format(warm=warm)], cwd=tmp_path, env=path)
    try:
        files = [tmp_path / f"begun-{number}" for number in (0, 1)]
        _until(lambda: all(each.exists() and each.read_text() for each in files))
        processes = [each.pid for each in psutil.Process(coordinator.pid).children(recursive=True)]
    finally:
        coordinator.kill()
        coordinator.wait()
    assert len(processes) == 3
    _until(lambda: not any(_lives(each) for each in processes))
    assert [(tmp_path / f"{number}.log").read_text() for number in (0, 1)] == ["heard SIGTERM\n"] * 2


def test_a_parent_that_is_killed(workers: Workers, order: Any, tmp_path: Path) -> None:
    workers.start(0, order("wait", "0"))
    workers.start(1, order("wait", "1"))
    _begun(workers, tmp_path / "begun-0", tmp_path / "begun-1")
    processes = list(workers.running.values())
    assert workers._parent is not None
    workers._parent.kill()
    assert _all(workers, 2) == {0: -9, 1: -9}
    assert not any(_lives(each) for each in processes)  # told when they are gone, not before
    assert (tmp_path / "logs" / "0").read_text() == "heard SIGTERM\n"
    workers.start(2, order("end", "2", code=5))
    assert _all(workers, 1) == {2: 5}


def test_a_parent_that_cannot_begin(capfd: pytest.CaptureFixture[str], order: Any) -> None:
    with Workers(task="tests.search.nothing_of_that_name") as workers:
        workers.start(0, order("end", code=0))
        assert _all(workers, 1) == {0: 1}
    assert "nothing_of_that_name" in capfd.readouterr().err


def test_more_orders_than_the_pipe_holds(warm: Workers, order: Any) -> None:
    for number in range(10):
        warm.start(number, order("end", code=number, ballast="x" * 50_000))
    assert _all(warm, 10) == {number: number for number in range(10)}


def test_copies_of_the_real_imports(order: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_IMPORTS", "yes")
    modules = ["src.run", "src.search.trial", "optuna", "mlflow.store.tracking.sqlalchemy_store", "lightning.pytorch"]
    with Workers(task=TASK) as workers:
        for number, threads in enumerate(("1", "3")):
            workers.start(number, order("draw", str(number), {"OMP_NUM_THREADS": threads}, modules=modules))
        assert _all(workers, 2) == {0: 0, 1: 0}
    found = [json.loads((tmp_path / "logs" / str(number)).read_text()) for number in (0, 1)]
    assert [each["threads"] for each in found] == [1, 3]
    assert not any(each["cuda"] or each["collecting"] or each["late"] for each in found)
    assert all(one != other for one, other in zip(found[0]["drawn"], found[1]["drawn"], strict=True))
