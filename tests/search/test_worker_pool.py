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

from src.search.run.worker_pool import ProcessExit, TrialJob, WorkerPool
from tests.search import stand_in

PATIENCE_SECONDS = 60.0
COORDINATOR = """
import sys, time
from src.search.run.worker_pool import TrialJob, WorkerPool
from tests.search import stand_in
with WorkerPool(warm={warm}, preload=stand_in.__name__, task=stand_in.run_trial_job) as workers:
    for number in (0, 1):
        config = {{"do": "wait", "begun": f"begun-{{number}}"}}
        workers.start_trial(number, TrialJob("t", config, f"{{number}}.log", {{}}))
    while True:
        workers.wait_for_exits(60)
"""


def pool(*, warm: bool = True, preload: str = "tests.search.stand_in") -> WorkerPool:
    return WorkerPool(warm=warm, preload=preload, task=stand_in.run_trial_job)


@pytest.fixture(params=[True, False], ids=["warm", "cold"])
def workers(request: pytest.FixtureRequest) -> Iterator[WorkerPool]:
    with pool(warm=request.param) as entered:
        yield entered
        began = [process for process in entered.running.values() if process]
    assert not any(_lives(process) for process in began)


@pytest.fixture
def warm() -> Iterator[WorkerPool]:
    with pool() as entered:
        yield entered


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., TrialJob]:
    def make(
        do: str, log: str = "log", environment: dict[str, str] | None = None, **config: Any
    ) -> TrialJob:
        config |= {"do": do, "begun": str(tmp_path / f"begun-{log}")}
        return TrialJob("a trial", config, str(tmp_path / "logs" / log), environment or {})

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


def _all(workers: WorkerPool, count: int) -> dict[int, int]:
    ended: list[ProcessExit] = []
    while len(ended) < count:
        found = workers.wait_for_exits(PATIENCE_SECONDS)
        assert found, f"nothing has ended but {ended}"
        ended += found
    return {gone.number: gone.code for gone in ended}


def _begun(workers: WorkerPool, *files: Path) -> None:
    """Wait for trials to have begun, and to be known."""

    def due() -> bool:
        assert workers.wait_for_exits(0) == []
        return all(file.exists() and file.read_text() for file in files) and all(
            workers.running.values()
        )

    _until(due)


def test_ends(workers: WorkerPool, order: Any) -> None:
    for number, do in enumerate(("end", "fail", "leave", "die")):
        workers.start_trial(number, order(do, f"{number}.log", code=0))
    workers.start_trial(4, order("end", "4.log", code=75))
    assert _all(workers, 5) == {0: 0, 1: 1, 2: 4, 3: -9, 4: 75}
    assert workers.running == {}


def test_output_is_added_to_the_log(workers: WorkerPool, order: Any, tmp_path: Path) -> None:
    for number in (0, 1):
        workers.start_trial(number, order("end", code=0))
        _all(workers, 1)
    assert (tmp_path / "logs" / "log").read_text() == "to stdout\nto stderr\nof a child\n" * 2


def test_a_failure_shows_its_traceback(workers: WorkerPool, order: Any, tmp_path: Path) -> None:
    workers.start_trial(0, order("fail"))
    _all(workers, 1)
    assert (tmp_path / "logs" / "log").read_text().endswith("ValueError: no such thing\n")


def test_surroundings_of_a_trial(workers: WorkerPool, order: Any, tmp_path: Path) -> None:
    workers.start_trial(0, order("tell", "0.log", {"SHARE": "two"}))
    workers.start_trial(1, order("tell", "1.log", {"SHARE": "three"}))
    _all(workers, 2)
    logs = [(tmp_path / "logs" / f"{number}.log").read_text() for number in (0, 1)]
    assert logs == [
        f"a trial {share} True  ['MainThread', 'lifeline']\n" for share in ("two", "three")
    ]


def test_one_end_wakes_while_others_go_on(workers: WorkerPool, order: Any, tmp_path: Path) -> None:
    workers.start_trial(0, order("wait", "0.log"))
    workers.start_trial(1, order("end", "1.log", code=0))
    assert _all(workers, 1) == {1: 0}
    assert list(workers.running) == [0]


def test_signals_to_one_and_to_all(workers: WorkerPool, order: Any, tmp_path: Path) -> None:
    for number in (0, 1, 2):
        workers.start_trial(number, order("wait", str(number)))
    _begun(workers, *(tmp_path / f"begun-{number}" for number in (0, 1, 2)))
    workers.send_signal(signal.SIGINT, 1)
    assert _all(workers, 1) == {1: 130}
    workers.send_signal(signal.SIGTERM)
    assert _all(workers, 2) == {0: 143, 2: 143}
    assert (tmp_path / "logs" / "1").read_text() == "heard SIGINT\n"


def test_a_trial_that_has_not_begun_hears_a_signal_too(workers: WorkerPool, order: Any) -> None:
    _until(lambda: not workers._warm_up.is_alive())
    workers.start_trial(0, order("wait"))
    workers.send_signal(signal.SIGTERM)
    assert _all(workers, 1)[0] in (143, -signal.SIGTERM)


def test_a_signal_before_imports_are_done_waits_for_nothing(
    warm: WorkerPool, order: Any, tmp_path: Path
) -> None:
    warm.start_trial(0, order("wait", "0"))
    warm.send_signal(signal.SIGINT)
    assert _all(warm, 1)[0] == -signal.SIGINT
    # another process is begun for it
    warm.start_trial(1, order("end", "1", code=0))
    assert _all(warm, 1) == {1: 0}


def test_kill_ends_trials_that_would_not(workers: WorkerPool, order: Any, tmp_path: Path) -> None:
    workers.start_trial(0, order("stay", "0"))
    workers.start_trial(1, order("stay", "1"))
    _begun(workers, tmp_path / "begun-0", tmp_path / "begun-1")
    workers.kill_all()
    assert _all(workers, 2) == {0: -9, 1: -9}


def test_leaving_ends_what_runs(order: Any, tmp_path: Path) -> None:
    with pool() as workers:
        workers.start_trial(0, order("wait"))
        _begun(workers, tmp_path / "begun-log")
        process = workers.running[0]
    assert not _lives(process)
    assert (tmp_path / "logs" / "log").read_text() == "heard SIGTERM\n"


def test_leaving_does_not_wait_for_the_deaf(
    order: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.search.run.worker_pool.GRACE_SECONDS", 0.2)
    with pool() as workers:
        workers.start_trial(0, order("stay"))
        _begun(workers, tmp_path / "begun-log")
        process = workers.running[0]
    assert not _lives(process)


def test_helpers_end_with_their_trial_and_a_courier_delivers(
    workers: WorkerPool, order: Any, tmp_path: Path
) -> None:
    delivered, helper = tmp_path / "delivered", tmp_path / "helper"
    workers.start_trial(0, order("help_oneself", delivered=str(delivered), helper=str(helper)))
    assert _all(workers, 1) == {0: 3}
    assert not _lives(int(helper.read_text()))
    _until(delivered.exists)


@pytest.mark.parametrize("warm", [True, False])
def test_a_coordinator_that_is_killed(warm: bool, tmp_path: Path) -> None:
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    coordinator = subprocess.Popen(
        [sys.executable, "-c", COORDINATOR.format(warm=warm)], cwd=tmp_path, env=path
    )
    try:
        files = [tmp_path / f"begun-{number}" for number in (0, 1)]
        _until(lambda: all(file.exists() and file.read_text() for file in files))
        processes = [
            process.pid for process in psutil.Process(coordinator.pid).children(recursive=True)
        ]
    finally:
        coordinator.kill()
        coordinator.wait()
    # two trials, and the library's tracker and fork server
    assert len(processes) == (4 if warm else 3)
    _until(lambda: not any(_lives(process) for process in processes))
    assert [(tmp_path / f"{number}.log").read_text() for number in (0, 1)] == [
        "heard SIGTERM\n"
    ] * 2


def test_a_fork_server_that_is_killed(warm: WorkerPool, order: Any, tmp_path: Path) -> None:
    warm.start_trial(0, order("wait", "0"))
    warm.start_trial(1, order("wait", "1"))
    _begun(warm, tmp_path / "begun-0", tmp_path / "begun-1")
    processes = list(warm.running.values())
    assert warm._server is not None
    warm._server.kill()
    assert _all(warm, 2) == {0: -9, 1: -9}
    # told when they are gone, not before
    assert not any(_lives(process) for process in processes)
    # a second one may interrupt the first one's word
    assert (tmp_path / "logs" / "0").read_text().startswith("heard SIGTERM")
    warm.start_trial(2, order("end", "2", code=5))
    assert _all(warm, 1) == {2: 5}


@pytest.mark.parametrize("module", ["nothing_of_that_name", "broken_preload"])
def test_a_fork_server_that_cannot_import(
    capfd: pytest.CaptureFixture[str], order: Any, module: str
) -> None:
    with pool(preload=f"tests.search.{module}") as workers:
        workers.start_trial(0, order("end", code=0))
        assert _all(workers, 1) == {0: 1}
    assert module in capfd.readouterr().err


def test_more_orders_than_the_pipe_holds(warm: WorkerPool, order: Any) -> None:
    for number in range(10):
        warm.start_trial(number, order("end", code=number, ballast="x" * 50_000))
    assert _all(warm, 10) == {number: number for number in range(10)}


def test_copies_of_the_real_imports(order: Any, tmp_path: Path) -> None:
    modules = [
        "src.pipeline.run",
        "src.search.run.trial",
        "optuna",
        "mlflow.store.tracking.sqlalchemy_store",
        "lightning.pytorch",
    ]
    with pool(preload="src.search.run.preload") as workers:
        for number, threads in enumerate(("1", "3")):
            workers.start_trial(
                number, order("draw", str(number), {"OMP_NUM_THREADS": threads}, modules=modules)
            )
        assert _all(workers, 2) == {0: 0, 1: 0}
    found = [json.loads((tmp_path / "logs" / str(number)).read_text()) for number in (0, 1)]
    assert [state["threads"] for state in found] == [1, 3]
    assert not any(state["cuda"] or state["collecting"] or state["late"] for state in found)
    assert all(
        one != other for one, other in zip(found[0]["drawn"], found[1]["drawn"], strict=True)
    )
