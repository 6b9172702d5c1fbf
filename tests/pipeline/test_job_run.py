"""The command of a job begins a run once, and goes on with it whenever the job is started again."""

import importlib
import os
import shutil
import threading
from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.pipeline import job_run
from src.pipeline.job_run import resolve_job_run
from src.pipeline.run import read_task_schema
from src.tracking.run_record import RunRecord
from src.tracking.store import Store

COMMAND = ("resume=job", "+experiment=imdb", "trainer.num_nodes=auto")


@pytest.fixture
def place(tmp_path: Path, blank_database: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "mlruns").mkdir()
    shutil.copy(blank_database, tmp_path / "mlruns" / "mlflow.db")
    for name, value in {"TORCHELASTIC_RUN_ID": "night", "WORLD_SIZE": "1", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    return f"tracking.root={tmp_path}"


def resolve(place: str) -> list[str]:
    return resolve_job_run((*COMMAND, place), read_task_schema())


def begin(place: str, job: str) -> RunRecord:
    store = Store(root=place.partition("=")[2])
    return RunRecord(store=store, name="x", kind="k", params={}, tags={"job": job})


def test_a_job_has_one_run(place: str) -> None:
    with begin(place, "day"):
        pass
    assert resolve(place) == [*COMMAND[1:], place, "tags.job=night"]
    with pytest.raises(KeyboardInterrupt), begin(place, "night") as record:
        raise KeyboardInterrupt
    assert resolve(place) == [f"resume={record.run_id}", place]


def test_a_run_whose_processes_may_be_alive_is_waited_for(
    place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = begin(place, "night")
    entered = threading.Event()
    monkeypatch.setattr(job_run, "_POLL_SECONDS", 0.01)
    record.__enter__()

    def end_soon(text: str) -> None:
        if not entered.is_set():
            entered.set()
            assert "waiting for it" in text and f"process {os.getpid()}" in text
            record.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    monkeypatch.setattr(job_run, "print_line", end_soon)
    assert resolve(place) == [f"resume={record.run_id}", place]
    assert entered.is_set()


@pytest.mark.parametrize("job", [None, "none"])
def test_a_process_of_no_job(job: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    if job is not None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", job)
    with pytest.raises(UserError, match=r"^resume=job .* torchrun --rdzv-id=NAME gives it one$"):
        resolve("tracking=local")


def test_all_processes_get_what_the_first_has_found(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.distributed import HashStore

    meeting = importlib.import_module("torch.distributed.rendezvous")
    store, found = HashStore(), []
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in (0, 1):
        met = [(store, rank, 2)]
        monkeypatch.setattr(meeting, "rendezvous", lambda *_, met=met, **__: met)
        found.append(resolve(place))
    assert found[0] == found[1] == [*COMMAND[1:], place, "tags.job=night"]
