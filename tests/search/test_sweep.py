"""Sweeps as a person types them: begun, ended early and gone on with."""

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.search.sweep_project import Project

pytestmark = pytest.mark.long


def test_a_grid_from_its_first_trial_to_its_report(make_project: Callable[[], Project]) -> None:
    project = make_project()
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


def test_ctrl_c_kill_and_the_same_command_again(make_project: Callable[[], Project]) -> None:
    project = make_project()
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
