"""One store for many machines: an MLflow server on PostgreSQL whose artifacts lie in an object
storage.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.object_storage import ObjectStorage
from benchmarks.postgres import PostgresServer
from benchmarks.setting import ROOT
from benchmarks.tracking_server import Server
from src.core.user_errors import UserError
from src.tracking.store import Store

pytestmark = pytest.mark.services
TRAINING = (
    "+experiment=quickstart_scratch",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
    "trainer.precision=fp32",
    "trainer.max_epochs=null",
    "trainer.max_steps=60",
    "trainer.val_check_steps=20",
    "callbacks.checkpoint.every_steps=10",
    "report.page=false",
)
# what another machine measures otherwise
MEASURED = ("second", "memory", "system/", "mfu")


def start_run(root: Path, *overrides: str) -> subprocess.Popen[str]:
    """`python -m src.run` as on a machine whose project is `root`."""
    return subprocess.Popen(
        [sys.executable, "-m", "src.run", *overrides, f"tracking.root={root}"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PALIMPSEST_CACHE": str(root / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """The id of a run that must finish."""
    said, _ = process.communicate(timeout=300)
    found = re.search(r"^run ([0-9a-f]{32}) FINISHED", said, re.MULTILINE)
    assert process.returncode == 0 and found is not None, said
    return found[1]


def wait_for_checkpoint(storage: ObjectStorage, before: set[str]) -> str:
    """The id of the run whose checkpoint has come into the storage."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for key in set(storage.list_keys()) - before:
            if key.endswith(".ckpt") and (found := re.search(r"[0-9a-f]{32}", key)):
                return found[0]
        time.sleep(0.2)
    raise AssertionError("no checkpoint came")


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def results(store: Store, run_id: str) -> dict[str, dict[int, float]]:
    """Every point of what was learnt, and none of how fast."""
    return {
        name: points
        for name, points in store.read_metric_histories(run_id).items()
        if not any(word in name for word in MEASURED)
    }


@pytest.fixture
def store(tracking_server: Server, tmp_path: Path) -> Store:
    return Store(root=str(tmp_path / "reader"), uri=tracking_server.uri)


def test_a_run_goes_on_on_another_machine_with_an_empty_disk(
    store: Store, tracking_server: Server, storage: ObjectStorage, tmp_path: Path
) -> None:
    chosen = (*TRAINING, "tracking=server", f"tracking.uri={tracking_server.uri}")
    undisturbed = finish(start_run(tmp_path / "reference", *chosen))
    before = set(storage.list_keys())
    assert any(f"{undisturbed}/artifacts/model/config.json" in key for key in before)
    disturbed = start_run(tmp_path / "first", *chosen, "trainer.max_steps=60")
    run_id = wait_for_checkpoint(storage, before)
    os.killpg(disturbed.pid, signal.SIGKILL)
    disturbed.communicate()
    place = f"tracking.uri={tracking_server.uri}"
    # the heartbeat of the dead is that of another machine, which nobody here can ask
    said = finish(start_run(tmp_path / "second", f"resume={run_id}", place))
    assert said == run_id
    assert results(store, run_id) == results(store, undisturbed)


def start_writers(count: int, store: Store, steps: int) -> list[subprocess.Popen[str]]:
    """Programs that write a run each, and begin together."""
    place = [store.root, store.tracking_uri, store.experiment]
    command = [sys.executable, "-m", "tests.services.writer", *place, str(steps)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    writers = [subprocess.Popen(command, cwd=ROOT, text=True, **pipes) for _ in range(count)]
    for writer in writers:
        assert writer.stdout is not None and writer.stdin is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return writers


def check_written(store: Store, writers: list[subprocess.Popen[str]], steps: int) -> None:
    """Every run has finished, with every point once."""
    for writer in writers:
        said = writer.communicate(timeout=120)
        assert writer.returncode == 0, said
    runs = store.search_runs()
    assert [run.status for run in runs] == ["FINISHED"] * len(writers)
    client = store.open().client
    for run in runs:
        points = [
            (point.step, point.value) for point in client.get_metric_history(run.id, "train/loss")
        ]
        assert points == [(step, step / 7) for step in range(steps)]


def test_writers_begin_together_on_an_empty_database(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    store = Store(root=str(tmp_path), uri=postgres.create_database("empty"))
    check_written(store, start_writers(4, store, steps=10), steps=10)


def test_a_database_that_crashes_loses_no_point(postgres: PostgresServer, tmp_path: Path) -> None:
    store = Store(root=str(tmp_path), uri=postgres.create_database("crashing"))
    writers = start_writers(2, store, steps=600)
    wait_until(lambda: len(store.search_runs()) == len(writers))
    time.sleep(1)
    postgres.stop("immediate")
    time.sleep(2)
    postgres.start()
    check_written(store, writers, steps=600)


def test_a_server_that_is_killed_loses_no_point(store: Store, tracking_server: Server) -> None:
    store = replace(store, experiment="killed server")
    writers = start_writers(2, store, steps=600)
    wait_until(lambda: len(store.search_runs()) == len(writers))
    time.sleep(1)
    tracking_server.stop(signal.SIGKILL)
    time.sleep(1)
    tracking_server.start()
    check_written(store, writers, steps=600)


def test_a_database_without_an_encoding_is_refused(postgres: PostgresServer) -> None:
    address = postgres.create_database("ascii", encoding="SQL_ASCII")
    with pytest.raises(UserError, match="its encoding is SQL_ASCII, hence none; make another"):
        Store(root="/tmp", uri=address).open()


def test_a_server_may_become_a_newer_mlflow_under_a_run(
    postgres: PostgresServer, newer_mlflow: Path, tmp_path: Path
) -> None:
    address = postgres.create_database("upgraded")
    server = Server(tmp_path, address)
    server.start()
    try:
        store = Store(root=str(tmp_path / "project"), uri=server.uri)
        writers = start_writers(1, store, steps=600)
        wait_until(lambda: len(store.search_runs()) == 1)
        time.sleep(1)
        server.stop()
        server.start(library=newer_mlflow)
        check_written(store, writers, steps=600)
    finally:
        server.stop()
    with pytest.raises(UserError, match=r'a newer MLflow than .*pip install --upgrade "mlflow<4"'):
        Store(root=str(tmp_path / "direct"), uri=address).open()


def test_searches_begin_together_on_an_empty_database(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    address = postgres.create_database("searches")
    program = (
        "import sys; from pathlib import Path; from src.search.sweep_study import SweepStorage; "
        "print(SweepStorage(sys.argv[1], Path(sys.argv[2])).list_studies())"
    )
    searches = [
        subprocess.Popen(
            [sys.executable, "-c", program, address, str(tmp_path)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for search in searches:
        said = search.communicate(timeout=120)
        assert (search.returncode, said[0]) == (0, "[]\n"), said
