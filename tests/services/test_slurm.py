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


def wait_for_checkpoint(cluster: SlurmCluster, job: str, project: Path, *, runs: int = 1) -> None:
    folder = project / "mlruns" / "checkpoints"
    ended = ("COMPLETED", "FAILED")

    def is_reached() -> bool:
        found = {file.parent for file in folder.glob("*/*.ckpt")}
        return len(found) == runs or cluster.read_state(job) in ended

    wait_until(is_reached, PATIENCE_SECONDS)
    assert cluster.read_state(job) == "RUNNING", (project / "job.txt").read_text()


def preempt(cluster: SlurmCluster, folder: Path) -> None:
    """Push whatever runs off the node, by a job that takes it for a moment."""
    pause = folder / "pause.sh"
    pause.write_text("#!/bin/bash\nsleep 2\n")
    options = ("--partition=urgent", "--exclusive", f"--output={folder / 'pause.txt'}")
    wait_for(cluster, cluster.submit(pause, options=options), "COMPLETED")


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
    preempt(cluster, tmp_path)
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


def test_a_sweep_is_an_array_whose_trials_go_on(
    cluster: SlurmCluster, project: Path, tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    log = (tmp_path / "sweep.txt").open("w")
    sweep = subprocess.Popen(
        [
            *(".venv/bin/python", "-m", "src.run", "-m"),
            *(*TRAINING, "trainer.max_steps=1500", "model.optim.lr=1e-3,2e-3,3e-3"),
            *("hydra/launcher=submitit_slurm", "hydra.launcher.array_parallelism=1"),
            "+hydra.launcher.additional_parameters.exclusive=true",
        ],
        cwd=project,
        env=cluster.environment,
        stdout=log,
        stderr=log,
    )
    try:
        wait_until(lambda: cluster.list_jobs() or sweep.poll() is not None, PATIENCE_SECONDS)
        array = {name.partition("_")[0] for name in cluster.list_jobs()}
        assert len(array) == 1, (tmp_path / "sweep.txt").read_text()
        job = array.pop()
        assert cluster.list_jobs() == [f"{job}_{place}" for place in range(3)]
        # before it has begun, so that it cannot tell anybody
        cluster.call("scancel", f"{job}_2")
        wait_for_checkpoint(cluster, f"{job}_0", project)
        preempt(cluster, tmp_path)
        wait_for_checkpoint(cluster, f"{job}_1", project, runs=2)
        cluster.call("scancel", f"{job}_1")
        assert sweep.wait(PATIENCE_SECONDS) == 1, (tmp_path / "sweep.txt").read_text()
    finally:
        sweep.kill()
        sweep.wait()
        log.close()
    said = (tmp_path / "sweep.txt").read_text()
    assert f"trial 1 FAILED: its job {job}_1 was cancelled" in said
    assert f"SLURM knows no job {job}_2 any more, as after scancel before it began" in said
    runs = Store(root=str(project)).search_runs()
    trials = {run.tags["search.trial"]: run for run in runs if "search.trial" in run.tags}
    assert len(runs) == 3 and {key: run.status for key, run in trials.items()} == {
        "0": "FINISHED",
        "1": "KILLED",
    }
    assert trials["0"].tags["resumed"] == "1"
