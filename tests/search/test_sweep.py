"""Sweeps as a person types them: begun, ended early, gone on with, helped by a second process."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from src.search.sweep_study import SweepStorage
from src.search.trials import TrialRecord
from src.tracking.earlier_runs import RunInfo
from src.tracking.store import Store

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "+experiment=quickstart_scratch",
    "model/encoder=tiny",
    "model.encoder.width=16",
    "model.encoder.layers=1",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.threads=1",
    "tracking.system_metrics=false",
    "data.source.train=40",
    "data.source.validation=20",
    "data.source.test=20",
    "data.batching.batch_size=16",
    "trainer.max_epochs=1000",
    "trainer.val_check_steps=2",
    "callbacks.checkpoint.monitor=val/loss",
    "callbacks.checkpoint.mode=min",
)


class Project:
    """A folder of its own with a store, and the command."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root=str(root))

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        places = (f"tracking.root={self.root}", f"data.cache={self.root}/.cache")
        task = (
            ()
            if any(word.startswith("sweep=") and word != "sweep=new" for word in words)
            else SMALL
        )
        command = [sys.executable, "-m", "src.run", "-m", *task, *places, *words]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def sweep(self, *words: str, code: int = 0) -> str:
        process = self.begin(*words)
        said, _ = process.communicate(timeout=240)
        assert process.returncode == code, said
        return said

    def rows(self) -> list[TrialRecord]:
        storage = SweepStorage(None, self.root / "mlruns")
        return storage.open_study(storage.list_studies()[0][0]).load_trials()

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]

    def trials(self) -> list[RunInfo]:
        """The newest sweep's runs, by number."""
        storage = SweepStorage(None, self.root / "mlruns")
        found = self.store.search_runs(
            f"tags.`mlflow.parentRunId` = '{storage.list_studies()[0][0]}'"
        )
        return sorted(found, key=lambda run: int(run.tags["search.trial"]))

    def parent(self) -> RunInfo:
        return self.store.find_run(SweepStorage(None, self.root / "mlruns").list_studies()[0][0])


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Callable[[], Project]:
    def made() -> Project:
        root = tmp_path_factory.mktemp("sweeps")
        (root / "mlruns").mkdir()
        shutil.copy(blank_database, root / "mlruns" / "mlflow.db")
        return Project(root)

    return made


def test_a_grid_from_its_first_trial_to_its_report(make: Callable[[], Project]) -> None:
    project = make()
    words = (
        "trainer.max_steps=4",
        "model.optim.lr=1e-3,1e-2",
        "data.label_names=[negative,positive],[good,bad]",
    )
    said = project.sweep(*words, code=1)
    assert project.states() == ["finished", "failed", "finished", "failed"]
    assert "trial 1 FAILED: " in said and "Traceback" not in said

    parent, trials = project.parent(), project.trials()
    assert (parent.status, parent.tags["kind"]) == ("FINISHED", "search")
    assert (
        parent.params["space.model.optim.lr"] == "1e-3,1e-2"
        and "model.optim.lr" not in parent.params
    )
    assert [run.status for run in trials] == ["FINISHED", "FAILED", "FINISHED", "FAILED"]
    assert trials[0].params["model.optim.lr"] == "0.001" and trials[2].name.endswith(
        "lr=0.01 label_names=[negative,positive]"
    )
    assert trials[0].tags["command"].startswith("python -m src.run +experiment=quickstart_scratch ")

    best = min(
        (run for run in trials if run.status == "FINISHED"),
        key=lambda run: run.metrics["search/val/loss"],
    )
    assert parent.tags["search.best_run_id"] == best.id and best.tags["search.best"] == "true"
    assert parent.metrics["best/val/loss"] == pytest.approx(best.metrics["search/val/loss"])
    held = {
        artifact.path
        for artifact in project.store.open().client.list_artifacts(parent.id, "report")
    }
    assert {"report/sweep.html", "report/trials.json", "report/history.png"} <= held
    page = (Path(parent.artifact_uri) / "report" / "sweep.html").read_text()
    assert "FINISHED" in page and best.id[:8] in page

    again = project.sweep(*words, code=1)
    assert "is over" in again and "search.retry_failed=true runs the 2 that failed again" in again
    refused = project.sweep("trainer.max_steps=5", f"sweep={parent.id[:8]}", code=2)
    assert (
        f"error: sweep={parent.id[:8]} goes on as it began" in refused
        and "trainer.max_steps (4 -> 5)" in refused
    )
    project.sweep(f"sweep={parent.id[:8]}", "search.retry_failed=true", code=1)
    assert project.states() == ["finished", "failed", "finished", "failed", "failed", "failed"]
    assert [row.attributes.get("retry_of") for row in project.rows()[4:]] == [1, 3]
    assert project.parent().status == "FINISHED"


def until(process: "subprocess.Popen[str]", wanted: str) -> str:
    """Read what a command says up to a line with these words."""
    said = ""
    assert process.stdout is not None
    for line in iter(process.stdout.readline, ""):
        said += line
        if re.search(wanted, line):
            return said
    raise AssertionError(f"{wanted!r} was not said:\n{said}")


def test_ctrl_c_kill_and_the_same_command_again(make: Callable[[], Project]) -> None:
    project = make()
    words = (
        # enough that a signal after the first validation still finds the trial at work
        "trainer.max_steps=240",
        "search/sampler=random",
        "search.max_trials=2",
        "model.optim.lr=tag(log, interval(1e-4, 1e-2))",
    )
    process = project.begin(*words)
    until(process, "trial 0 validation 1")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and re.search(
        r"go on: python -m src.run -m sweep=\w{8} tracking.root=", said
    )
    assert "Traceback" not in said
    parent = project.parent()
    assert (parent.status, parent.tags["failure.reason"]) == ("KILLED", "interrupted (Ctrl-C)")
    first = project.trials()[0]
    assert project.states() == ["waiting"] and first.status in ("KILLED", "FINISHED")

    process = project.begin(*words)
    until(process, "trial 1 validation 1")
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=60)
    assert children and not psutil.wait_procs(children, timeout=60)[1]

    said = project.sweep(f"sweep={parent.id[:8]}", "search.max_trials=3")
    assert project.states() == ["finished", "finished", "finished"]
    assert [run.status for run in project.trials()] == ["FINISHED"] * 3
    assert project.trials()[0].id == first.id and len(project.store.search_runs()) == 4
    assert project.parent().status == "FINISHED" and project.parent().id == parent.id
    assert all(run.last_steps["val/loss"] == 240 for run in project.trials())


def test_two_processes_work_on_one_sweep(make: Callable[[], Project]) -> None:
    project = make()
    words = ("trainer.max_steps=2", "model.optim.lr=1e-4,1e-3,3e-3,1e-2", "search.jobs=2")
    both = [project.begin(*words) for _ in range(2)]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(said)
    assert (
        project.states() == ["finished"] * 4
        and [run.status for run in project.trials()] == ["FINISHED"] * 4
    )
    assert len(SweepStorage(None, project.root / "mlruns").list_studies()) == 1
    assert (
        sum("this one helps" in text for text in said) == 1
        and project.parent().status == "FINISHED"
    )


def test_the_median_ends_a_poor_trial(make: Callable[[], Project]) -> None:
    project = make()
    project.sweep(
        "trainer.max_steps=8",
        "search/pruner=median",
        "search.pruner.startup_trials=2",
        "seed=1,2,3",
        "model.optim.lr=1e-3,2e-3,0.9",
        "trainer.gradient_clip_val=null",
        "search.jobs=1",
    )
    pruned = [
        (row, run)
        for row, run in zip(project.rows(), project.trials(), strict=True)
        if row.state == "pruned"
    ]
    assert pruned
    for row, run in pruned:
        assert run.status == "KILLED" and run.tags["failure.reason"].startswith(
            "pruned after validation "
        )
        assert run.metrics["search/val/loss"] == pytest.approx(row.latest_value)
        assert not any(key.startswith("test/") for key in run.metrics)


def test_jobs_of_submitit_are_trials_of_one_sweep(make: Callable[[], Project]) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    project = make()
    said = project.sweep(
        "trainer.max_steps=2", "hydra/launcher=submitit_local", "model.optim.lr=1e-3,1e-2"
    )
    assert "trial 1 finished" in said and project.states() == ["finished", "finished"]
    assert [run.status for run in project.trials()] == [
        "FINISHED"
    ] * 2 and project.parent().status == "FINISHED"


def test_trials_on_two_devices(make: Callable[[], Project]) -> None:
    project = make()
    project.sweep(
        "trainer=ddp", "trainer.devices=2", "trainer.max_steps=2", "model.optim.lr=1e-3,1e-2"
    )
    assert project.states() == ["finished", "finished"]
    assert len(project.store.search_runs()) == 3


def test_what_ends_a_sweep_before_its_first_trial(make: Callable[[], Project]) -> None:
    project = make()
    for words, message in (
        (("sweep=123456",), "error: sweep=ID: no sweep has been kept yet in "),
        (
            ("tracking=offline", "seed=1,2"),
            "error: tracking=offline keeps single runs; a search needs a store",
        ),
    ):
        assert project.sweep(*words, code=2).startswith(message)
    assert (
        not (project.root / "mlruns" / "search.db").exists() and project.store.search_runs() == []
    )
