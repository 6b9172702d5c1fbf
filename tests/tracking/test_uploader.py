"""Delivery while runs go on: by a process of its own, and by several runs at once."""

import contextlib
import os
import resource
import threading
import time

import pytest

from src.tracking import uploader
from src.tracking.run_record import RunRecord
from src.tracking.store import Store


def record(store: Store, **options: object) -> RunRecord:
    return RunRecord(store=store, **({"name": "x", "kind": "k", "params": {}} | options))


def history(store: Store, run_id: str, key: str) -> list[tuple[int, float]]:
    points = store.open().client.get_metric_history(run_id, key)
    return [(point.step, point.value) for point in points]


@pytest.fixture
def _process_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploader, "_PROCESS_START_SECONDS", 0.0)


@pytest.mark.usefixtures("_process_at_once")
def test_a_process_delivers_while_the_run_goes_on(store: Store) -> None:
    """The one test that starts the process; without it points would wait for the end of the run."""
    with record(store) as run:
        for step in range(5000):
            run.log_metrics({"a": float(step)}, step=step)
        deadline = time.monotonic() + 60
        while len(history(store, run.run_id, "a")) < 5000 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(history(store, run.run_id, "a")) == 5000
        assert run._uploader is not None and run._uploader._process is not None
        process = run._uploader._process
    assert process.returncode == -9 and store.find_run(run.run_id).status == "FINISHED"
    assert len(history(store, run.run_id, "a")) == 5000


@pytest.mark.usefixtures("_process_at_once")
def test_more_open_files_than_select_can_name(store: Store) -> None:
    """A server or a notebook may have over a thousand."""
    least = 1100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * least:
        pytest.skip("this system opens no more files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * least), hard))
    try:
        with contextlib.ExitStack() as files:
            for _ in range(least):
                files.enter_context(open(os.devnull))
            with record(store) as run:
                run.log_metrics({"a": 1.0})
                while run._uploader is None or run._uploader._process is None:
                    time.sleep(0.05)
                time.sleep(0.2)
        assert store.find_run(run.run_id).status == "FINISHED"
        assert history(store, run.run_id, "a") == [(0, 1.0)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_eight_writers_at_once_lose_nothing(store: Store) -> None:
    ids: list[str] = []

    def write(number: int) -> None:
        with record(store) as run:
            ids.append(run.run_id)
            for step in range(500):
                run.log_metrics({"a": float(step * number)}, step=step)

    store.open()
    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [len(history(store, run_id, "a")) for run_id in ids] == [500] * 8
    assert {store.find_run(run_id).status for run_id in ids} == {"FINISHED"}


@pytest.mark.usefixtures("_process_at_once")
def test_a_search_has_its_thread_deliver(store: Store) -> None:
    """It trains nothing in its own process, and another one would take cores from its trials."""
    with record(store, kind="search") as run:
        run.log_metrics({"a": 1.0}, step=1)
        deadline = time.monotonic() + 60
        while not history(store, run.run_id, "a") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert history(store, run.run_id, "a") == [(1, 1.0)]
        assert run._uploader is not None and run._uploader._process is None
