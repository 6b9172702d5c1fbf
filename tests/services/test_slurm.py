"""Runs as jobs of a real SLURM, by the script of deploy/: preempted, cancelled, on two tasks."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.slurm_cluster import SlurmCluster, copy_program, find_slurm, wait_until
from src.tracking.store import Store

pytestmark = pytest.mark.services
TRAINING = (
    "+experiment=quickstart_scratch",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
    "trainer.precision=fp32",
    "trainer.max_epochs=null",
    "trainer.max_steps=300",
    "trainer.val_check_steps=100",
    "callbacks.checkpoint.every_steps=20",
    "report.page=false",
)
# what another turn measures otherwise
MEASURED = ("second", "memory", "system/", "mfu")
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    if not find_slurm():
        pytest.skip("SLURM cannot be started: it needs root, slurm-wlm and munge")
    cluster = SlurmCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_program(tmp_path / "project")


def submit(cluster: SlurmCluster, project: Path, *arguments: str, tasks: int = 1) -> str:
    options = (
        f"--chdir={project}",
        f"--output={project / 'job.txt'}",
        f"--ntasks-per-node={tasks}",
    )
    script = project / "deploy" / "slurm.sh"
    return cluster.submit(script, *arguments, options=(*options, "--exclusive"))


def wait_for(cluster: SlurmCluster, job: str, *states: str) -> None:
    wait_until(lambda: cluster.read_state(job) in states, PATIENCE_SECONDS)


def wait_for_checkpoint(cluster: SlurmCluster, job: str, project: Path) -> None:
    folder = project / "mlruns" / "checkpoints"
    ended = ("COMPLETED", "FAILED")
    wait_until(
        lambda: list(folder.glob("*/*.ckpt")) or cluster.read_state(job) in ended, PATIENCE_SECONDS
    )
    assert cluster.read_state(job) == "RUNNING", (project / "job.txt").read_text()


def results(store: Store, run_id: str) -> dict[str, dict[int, float]]:
    return {
        name: points
        for name, points in store.read_metric_histories(run_id).items()
        if not any(word in name for word in MEASURED)
    }


def test_a_preempted_run_goes_on_as_if_nothing_had_been(
    cluster: SlurmCluster, project: Path, tmp_path: Path
) -> None:
    job = submit(cluster, project, *TRAINING)
    wait_for_checkpoint(cluster, job, project)
    pause = tmp_path / "pause.sh"
    pause.write_text("#!/bin/bash\nsleep 2\n")
    urgent = cluster.submit(
        pause, options=("--partition=urgent", "--exclusive", f"--output={tmp_path / 'pause.txt'}")
    )
    wait_for(cluster, urgent, "COMPLETED")
    store = Store(root=str(project))
    [killed] = store.search_runs()
    assert killed.status == "KILLED"
    wait_for(cluster, job, "COMPLETED")
    [run] = store.search_runs()
    assert (run.id, run.status) == (killed.id, "FINISHED")
    undisturbed = subprocess.run(
        [".venv/bin/python", "-m", "src.run", *TRAINING, "name=undisturbed"],
        cwd=project,
        check=True,
        capture_output=True,
    )
    assert undisturbed.returncode == 0
    reference = store.find_run("undisturbed")
    assert results(store, run.id) == results(store, reference.id)


def test_a_cancelled_run_is_killed_and_stays_so(cluster: SlurmCluster, project: Path) -> None:
    job = submit(cluster, project, *TRAINING, "trainer.max_steps=3000")
    wait_for_checkpoint(cluster, job, project)
    cluster.call("scancel", job)
    wait_for(cluster, job, "CANCELLED")
    [run] = Store(root=str(project)).search_runs()
    assert run.status == "KILLED"


def test_two_tasks_are_two_ranks_of_one_run(cluster: SlurmCluster, project: Path) -> None:
    options = (
        "trainer=ddp",
        "trainer.devices=2",
        "trainer.max_steps=20",
        "trainer.val_check_steps=10",
    )
    job = submit(cluster, project, *TRAINING, *options, tasks=2)
    wait_for(cluster, job, "COMPLETED", "FAILED")
    assert cluster.read_state(job) == "COMPLETED", (project / "job.txt").read_text()
    [run] = Store(root=str(project)).search_runs()
    assert run.tags["ranks"] == "2"
