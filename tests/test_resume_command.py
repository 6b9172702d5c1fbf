"""`resume=ID` and `fork=true` by the command: what they go on with, what they refuse, what they
leave untouched.
"""

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from filelock import FileLock

from src.core.user_errors import UserError
from src.model.module import EncoderModule
from src.pipeline.resume_hint import report_error
from src.pipeline.run import read_task_schema, run
from src.run import resume_from_command_line
from src.runs import main as show_run
from src.tracking.earlier_runs import RunInfo
from src.tracking.outbox import link_or_copy
from src.tracking.store import Store
from tests.labelled import config_of, project_of

MEASURED = ("second", "mfu", "memory", "system/")
# optimizer steps of a whole run
STEPS = 8


class Said(NamedTuple):
    """What a command has left on the terminal."""

    code: int
    out: str
    err: str


Go = Callable[..., Said]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Path:
    return project_of(tmp_path_factory.mktemp("project"), blank_database)


@pytest.fixture(scope="module")
def config(project: Path) -> dict[str, Any]:
    return config_of(project)


@pytest.fixture(scope="module")
def store(project: Path) -> Store:
    return Store(root=str(project))


@pytest.fixture(scope="module")
def reference(config: dict[str, Any], store: Store) -> RunInfo:
    """An undisturbed run."""
    return store.find_run(run(**config).run_id)


def broken_off(
    config: dict[str, Any], store: Store, step: int, error: BaseException
) -> tuple[RunInfo, BaseException]:
    """A run that an error has ended in the midst of an optimizer step, counted from 0; and the
    error.
    """
    whole = EncoderModule.training_step

    def breaking(self: EncoderModule, batch: Any, batch_index: int) -> Any:
        if self.global_step == step:
            raise error
        return whole(self, batch, batch_index)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(type(error)) as caught:
        patch.setattr(EncoderModule, "training_step", breaking)
        run(**config)
    return store.search_runs(limit=1)[0], caught.value


@pytest.fixture(scope="module")
def failed(config: dict[str, Any], store: Store) -> RunInfo:
    """A run that has broken off in its sixth step and stays so."""
    return broken_off(config, store, 5, OSError("the cable was pulled"))[0]


@pytest.fixture
def go(project: Path, capsys: pytest.CaptureFixture[str]) -> Go:
    """`python -m src.run ...` beside the project's store."""

    def call(*arguments: str) -> Said:
        capsys.readouterr()
        code = resume_from_command_line(
            [*arguments, f"tracking.root={project}"], read_task_schema()
        )
        return Said(code, *capsys.readouterr())

    return call


def points(store: Store, run_id: str) -> dict[tuple[str, int], float]:
    """What is no measurement of time, by key and step; each must be there once."""
    with sqlite3.connect(store.runs_folder / "mlflow.db") as database:
        rows = database.execute(
            "select key, step, value from metrics where run_uuid = ?", [run_id]
        ).fetchall()
    keys = [row[:2] for row in rows]
    assert [key for key in set(keys) if keys.count(key) > 1] == []
    return {
        (key, step): value for key, step, value in rows if not any(each in key for each in MEASURED)
    }


def weights(store: Store, run_id: str) -> bytes:
    return (store.fetch_model_folder(run_id) / "model.safetensors").read_bytes()


def kept(store: Store, run_id: str) -> set[str]:
    return {each.name for each in (store.runs_folder / "checkpoints" / run_id).iterdir()}


def test_a_run_that_failed_goes_on_to_the_same_end(
    config: dict[str, Any], store: Store, reference: RunInfo, go: Go
) -> None:
    before = len(store.search_runs())
    found, _ = broken_off(config, store, 5, RuntimeError("the cable was pulled"))
    assert found.status == "FAILED"
    said = go(f"resume={found.id[:8]}", "callbacks.progress.line_seconds=7")
    assert said.code == 0, said.err
    assert f"run {found.id}: " in said.out
    assert "resumed at optimizer step 4 (step=4.ckpt)" in said.out
    assert f"run {found.id} FINISHED" in said.out
    assert len(store.search_runs()) == before + 1
    after = store.find_run(found.id)
    assert (after.status, after.name, after.tags["resumed"]) == ("FINISHED", reference.name, "1")
    assert after.tags["resumed.changes"] == "callbacks.progress.line_seconds=7"
    assert "failure.reason" not in after.tags
    assert after.params == reference.params
    assert weights(store, found.id) == weights(store, reference.id)
    assert points(store, found.id) == points(store, reference.id)
    assert kept(store, found.id) == kept(store, reference.id)


def test_the_way_back_is_the_last_word(
    config: dict[str, Any], store: Store, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, error = broken_off(config, store, 0, OSError("the cable was pulled"))
    assert isinstance(error, Exception)
    capsys.readouterr()
    assert report_error(error) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"resume: python -m src.run resume={found.id[:8]} tracking.root={project}"
    )


def test_a_run_without_a_checkpoint_begins_again(
    config: dict[str, Any], store: Store, reference: RunInfo, go: Go
) -> None:
    found, _ = broken_off(config, store, 1, OSError("the cable was pulled"))
    said = go(f"resume={found.id}")
    assert said.code == 0, said.err
    assert "resumed: it has no checkpoint yet, so it begins again" in said.out
    assert weights(store, found.id) == weights(store, reference.id)
    assert points(store, found.id) == points(store, reference.id)


def test_a_finished_run_is_refused(reference: RunInfo, go: Go, store: Store) -> None:
    said = go(f"resume={reference.id}")
    assert said.code == 2
    assert said.err.startswith(
        f"error: resume={reference.id}: run {reference} has finished, there is nothing left"
    )
    assert store.find_run(reference.id) == reference


def test_a_fork_goes_further_with_a_rate_of_its_own(
    reference: RunInfo, go: Go, store: Store
) -> None:
    said = go(
        f"resume={reference.id}",
        "fork=true",
        "trainer.max_epochs=3",
        "model.optim.lr=2e-3",
        "name=longer",
    )
    assert said.code == 0, said.err
    assert f"forked from run {reference.id} at optimizer step {STEPS}" in said.out
    found = store.search_runs(limit=1)[0]
    assert (found.status, found.tags["forked_from"]) == ("FINISHED", reference.id)
    assert found.name == "longer lr=0.002 max_epochs=3"
    assert found.params["model.optim.lr"] == "0.002"
    own = points(store, found.id)
    assert sorted(step for key, step in own if key == "train/loss") == [9, 10, 11, 12]
    falling = [own["train/lr", step] for step in (9, 10, 11, 12)]
    assert falling == sorted(falling, reverse=True)
    # 12 steps, of which 1 warms up
    assert falling == pytest.approx([2e-3 * left / 11 for left in (3, 2, 1, 0)])
    assert store.find_run(reference.id).status == "FINISHED"
    assert found.id in store.find_run(reference.id).tags["forks"]
    assert "step=8.ckpt" not in kept(store, found.id)


def test_a_fork_that_fails_at_once_goes_on_from_where_it_began(
    config: dict[str, Any], reference: RunInfo, go: Go, store: Store
) -> None:
    longer = {
        **config,
        "trainer": {**config["trainer"], "max_epochs": 3},
        "resume": reference.id,
        "fork": True,
    }
    found, _ = broken_off(longer, store, STEPS, OSError("the cable was pulled"))
    assert kept(store, found.id) == {"step=8.ckpt"}
    said = go(f"resume={found.id}")
    assert said.code == 0, said.err
    assert "resumed at optimizer step 8" in said.out
    undisturbed = run(**longer)
    assert weights(store, found.id) == weights(store, undisturbed.run_id)
    assert points(store, found.id) == points(store, undisturbed.run_id)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["model.optim.lr=0.01"],
            "model.optim.lr (0.001 -> 0.01); fork=true makes a new run of it",
        ),
        (
            ["fork=true", "seed=2"],
            "takes weights, optimizer and place in the data from that run, which do not fit",
        ),
        (
            ["trainer.max_steps=no"],
            "trainer.max_steps: expected a whole number at least 1 or null, found 'no'",
        ),
        (["trainer=gpu"], "beside resume= nothing is composed"),
    ],
)
def test_what_is_refused_leaves_the_run_as_it_was(
    failed: RunInfo, go: Go, store: Store, arguments: list[str], message: str
) -> None:
    before = store.search_runs()
    said = go(f"resume={failed.id}", *arguments)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
    assert store.search_runs() == before


def test_of_two_at_once_one_wins(failed: RunInfo, go: Go, store: Store) -> None:
    with FileLock(store.runs_folder / "checkpoints" / f"{failed.id}.lock"):
        said = go(f"resume={failed.id}")
    message = "another process is going on with this run already; only one can"
    assert (said.code, said.err) == (2, f"error: resume={failed.id}: {message}\n")
    assert store.find_run(failed.id) == failed


@pytest.fixture
def running(failed: RunInfo, store: Store) -> Iterator[RunInfo]:
    """The same run, as if this process were still at it."""
    store.open().client.update_run(failed.id, status="RUNNING")
    yield store.find_run(failed.id)
    store.open().client.set_terminated(failed.id, "FAILED")


def test_a_run_that_lives_is_refused(running: RunInfo, go: Go) -> None:
    said = go(f"resume={running.id}")
    assert said.code == 2
    assert f"run {running} is still running: " in said.err


def test_other_data_are_refused_before_the_run_is_touched(
    failed: RunInfo, project: Path, go: Go, store: Store
) -> None:
    path = project / "rows" / "train.csv"
    text = path.read_text()
    path.write_text(text + "one more,1\n")
    try:
        said = go(f"resume={failed.id}")
    finally:
        path.write_text(text)
    assert said.code == 2
    assert "the data are not those with which run" in said.err
    assert "train (digest " in said.err
    assert "validation (digest" not in said.err
    assert store.find_run(failed.id).status == "FAILED"


def test_checkpoints_that_are_gone_are_fetched(
    failed: RunInfo, go: Go, store: Store, reference: RunInfo
) -> None:
    shutil.rmtree(store.runs_folder / "checkpoints" / failed.id)
    # the last test that needs it failed
    said = go(f"resume={failed.id}")
    assert said.code == 0, said.err
    assert "resumed at optimizer step 4 (step=4.ckpt)" in said.out
    assert weights(store, failed.id) == weights(store, reference.id)


def test_a_signal_leaves_a_checkpoint_and_the_way_back(
    config: dict[str, Any], store: Store, reference: RunInfo, go: Go
) -> None:
    whole = EncoderModule.training_step

    def signalled(self: EncoderModule, batch: Any, batch_index: int) -> Any:
        if self.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(self, batch, batch_index)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(EncoderModule, "training_step", signalled)
        run(**config)
    found = store.search_runs(limit=1)[0]
    assert found.status == "KILLED"
    said = go(f"resume={found.id}")
    assert said.code == 0, said.err
    assert "resumed at optimizer step 5 (step=5.ckpt)" in said.out
    assert weights(store, found.id) == weights(store, reference.id)
    assert points(store, found.id) == points(store, reference.id)


def test_a_folder_that_had_arrived_before_the_kill_arrives_again(tmp_path: Path) -> None:
    source, target = tmp_path / "model", tmp_path / "artifacts" / "model"
    source.mkdir()
    for text in ("once", "twice"):
        (source / "config.json").unlink(missing_ok=True)
        (source / "config.json").write_text(text)
        link_or_copy(source, target)
    assert (target / "config.json").read_text() == "twice"


def test_a_run_that_cannot_work_begins_again_with_what_mends_it(
    config: dict[str, Any], store: Store, go: Go, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ended before its training: nothing is lost, and every key may be another."""
    split = {**config["data"]["split"], "validation": 0.0}
    source = {**config["data"]["source"], "path": f"{store.root}/rows/train.csv"}
    data = {**config["data"], "split": split, "source": source}
    with pytest.raises(UserError, match="no rows to validate on") as caught:
        run(**{**config, "data": data})
    assert report_error(caught.value) == 1
    found = store.search_runs(limit=1)[0]
    offered = f"python -m src.run resume={found.id[:8]} tracking.root={store.root} fork=true"
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"begin again, with what shall differ behind it: {offered}"
    )
    mended = "data.split.validation=0.2"
    refused = go(f"resume={found.id[:8]}", mended)
    assert refused.code == 2
    assert refused.err.endswith(
        "what was typed would change it: data.split.validation (0.0 -> 0.2); it ended without "
        "a checkpoint, and fork=true begins a new run with this\n"
    )
    said = go(f"resume={found.id[:8]}", "fork=true", mended)
    assert said.code == 0, said.err
    assert f"a new run with the config of run {found.id}, which ended without a checkpoint" in (
        said.out
    )
    new = store.search_runs(limit=1)[0]
    assert (new.status, new.name) == ("FINISHED", "run validation=0.2")
    assert new.tags["forked_from"] == found.id


def test_a_run_that_failed_before_its_first_checkpoint_begins_again_with_what_mends_it(
    config: dict[str, Any], store: Store, go: Go, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was trained, but there is nothing to go on with: `resume=ID` alone would fail again."""
    found, error = broken_off(config, store, 1, OSError("the cable was pulled"))
    assert isinstance(error, Exception)
    capsys.readouterr()
    assert report_error(error) == 1
    resume = f"python -m src.run resume={found.id[:8]} tracking.root={store.root}"
    begin_again = f"begin again, with what shall differ behind it: {resume} fork=true"
    assert capsys.readouterr().err.splitlines()[-2:] == [begin_again, f"resume: {resume}"]
    assert show_run([found.id, "--root", store.root]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert f"resume:      {resume}" in shown and begin_again in shown
    refused = go(f"resume={found.id[:8]}", "data.split.seed=9")
    assert refused.code == 2
    assert refused.err.endswith(
        "it ended without a checkpoint, and fork=true begins a new run with this\n"
    )
    said = go(f"resume={found.id[:8]}", "fork=true", "data.split.seed=9")
    assert said.code == 0, said.err
    assert f"a new run with the config of run {found.id}, which ended without a checkpoint" in (
        said.out
    )
    new = store.search_runs(limit=1)[0]
    assert (new.status, new.params["data.split.seed"]) == ("FINISHED", "9")


def test_a_run_without_an_encoder_is_not_to_be_begun_from(
    config: dict[str, Any], store: Store, go: Go
) -> None:
    """It has a checkpoint, whose place another seed cannot take, and has left no model."""
    found, _ = broken_off(config, store, 5, OSError("the cable was pulled"))
    said = go(f"resume={found.id}", "seed=2")
    assert said.code == 2
    assert said.err.endswith(
        "for seed a new run is needed (what began it, typed again with that)\n"
    )
    client = store.open().client
    client.set_tag(found.id, "command", "python -m src.run +experiment=files seed=1 name='a b'")
    said = go(f"resume={found.id}", "seed=2")
    assert said.err.endswith(
        "for seed a new run is needed (python -m src.run +experiment=files 'name=a b' seed=2)\n"
    )
    said = go(f"resume={found.id}", "seed=2", "fork=true")
    assert said.err.endswith("(python -m src.run +experiment=files 'name=a b' seed=2)\n")


def test_a_fork_of_a_finished_run_whose_checkpoints_are_gone_is_refused(
    config: dict[str, Any], store: Store, go: Go
) -> None:
    found = store.find_run(run(**config).run_id)
    shutil.rmtree(store.runs_folder / "checkpoints" / found.id)
    shutil.rmtree(Path(found.artifact_uri.removeprefix("file://")) / "checkpoints")
    said = go(f"resume={found.id}", "fork=true")
    assert said.code == 2
    assert said.err.endswith(
        "has no whole checkpoint to begin from (none is left); "
        f"init_from={found.id} begins one from its encoder\n"
    )
