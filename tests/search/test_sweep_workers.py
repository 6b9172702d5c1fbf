"""Sweeps that others help: a second process, jobs of a launcher, several devices, a pruner."""

from collections.abc import Callable

import pytest

from src.search.sweep_study import SweepStorage
from tests.search.sweep_project import Project

pytestmark = pytest.mark.long


def test_two_processes_work_on_one_sweep(make_project: Callable[[], Project]) -> None:
    project = make_project()
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


def test_the_median_ends_a_poor_trial(make_project: Callable[[], Project]) -> None:
    project = make_project()
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


def test_jobs_of_submitit_are_trials_of_one_sweep(make_project: Callable[[], Project]) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    project = make_project()
    said = project.sweep(
        "trainer.max_steps=2", "hydra/launcher=submitit_local", "model.optim.lr=1e-3,1e-2"
    )
    assert "trial 1 finished" in said and project.states() == ["finished", "finished"]
    assert [run.status for run in project.trials()] == [
        "FINISHED"
    ] * 2 and project.parent().status == "FINISHED"


def test_trials_on_two_devices(make_project: Callable[[], Project]) -> None:
    project = make_project()
    project.sweep(
        "trainer=ddp", "trainer.devices=2", "trainer.max_steps=2", "model.optim.lr=1e-3,1e-2"
    )
    assert project.states() == ["finished", "finished"]
    assert len(project.store.search_runs()) == 3


def test_what_ends_a_sweep_before_its_first_trial(make_project: Callable[[], Project]) -> None:
    project = make_project()
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
