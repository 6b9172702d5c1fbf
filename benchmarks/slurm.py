"""A run that a real SLURM preempts five times: `python -m benchmarks.slurm [count=5] [seed=1]
[steps=3000]`.

The job of deploy/slurm.sh is pushed off its node by another one, waits in the queue, begins again
by itself and goes on. In the end it must be one MLflow run whose weights and metrics are those of
a run that nobody disturbed.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.kills import Run, differences
from benchmarks.setting import write
from benchmarks.slurm_cluster import (
    REQUEUE_SECONDS,
    SlurmCluster,
    copy_program,
    find_slurm,
    wait_until,
)
from src.config.command_line import parse_key_values

OPTIONS = {"count": "5", "seed": "1", "steps": "3000"}
TRAINING = (
    "+experiment=quickstart_scratch",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=null",
    "trainer.val_check_steps=500",
    "trainer.log_every_n_steps=10",
    "callbacks.checkpoint.every_steps=100",
    "model.encoder.dropout=0.1",
    "tracking.system_metrics=false",
    "report.page=false",
)
PATIENCE_SECONDS = 300


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 where nothing of the preemptions is left to see."""
    given = parse_key_values(arguments, OPTIONS)
    count, dice = int(given["count"]), random.Random(int(given["seed"]))
    if not find_slurm():
        print("SLURM cannot be started here: it needs root, slurm-wlm and munge")
        return 1
    overrides = (*TRAINING, f"trainer.max_steps={given['steps']}")
    with tempfile.TemporaryDirectory(prefix="slurm-runs-") as folder:
        project = copy_program(Path(folder) / "project")
        cluster = SlurmCluster()
        try:
            cluster.start()
            job = Job(cluster, project, overrides)
            rows = [job.preempt(dice) for _ in range(count)]
            job.wait_for("COMPLETED", "FAILED", "CANCELLED")
        finally:
            cluster.remove()
        run = Run("", "", project, project / "job.txt")
        runs = len(run.rows("select run_uuid from runs"))
        reference = run_undisturbed(project, overrides)
        problems = differences(run, reference)
        points = len(run.points())
    good = runs == 1 and not problems
    lines = [
        f"A run of {int(given['steps']):,} steps, preempted {count} times: "
        f"{runs} MLflow run{'' if runs == 1 else 's'}, {points:,} points, "
        + ("; ".join(problems) or "weights and metrics the same to the last bit as undisturbed")
        + f": {'reached' if good else '**not reached**'}.",
        "",
        "| preempted | at step | seconds from SIGTERM to the node's being free | "
        "seconds in the queue | status meanwhile |",
        "| --- | ---: | ---: | ---: | --- |",
        *rows,
        "",
        "SLURM 22.05 on one node, `PreemptMode=REQUEUE` and "
        f"`AuthInfo=cred_expire={REQUEUE_SECONDS}`: so long at least a requeued job waits, 120 s "
        "where nobody has said otherwise (`scontrol update JobId=ID StartTime=now` ends the wait "
        "of one job). Every other preemption comes at a random moment of the job's first ten "
        "seconds, in which a run begins or resumes; the others some random time after a "
        "checkpoint. Metrics of time and power are compared by their steps alone.",
    ]
    command = (
        f"python -m benchmarks.slurm count={count} seed={given['seed']} steps={given['steps']}"
    )
    write("slurm", "A run that SLURM preempts", command, lines)
    return 0 if good else 1


class Job:
    """A training as a job, and the store that it writes."""

    def __init__(self, cluster: SlurmCluster, project: Path, overrides: Sequence[str]) -> None:
        self.cluster, self.project, self.preemptions = cluster, project, 0
        self.run = Run("", "", project, project / "job.txt")
        self.number = cluster.submit(
            project / "deploy" / "slurm.sh",
            *overrides,
            options=(f"--chdir={project}", f"--output={self.run.log}", "--exclusive"),
        )

    def wait_for(self, *states: str) -> None:
        wait_until(lambda: self.cluster.read_state(self.number) in states, PATIENCE_SECONDS)

    def preempt(self, dice: random.Random) -> str:
        """Push the job off its node once, until it runs again; a line of the table."""
        self.preemptions += 1
        is_early = self.preemptions % 2 == 0
        begun_at = time.time()
        if is_early:
            time.sleep(dice.random() * 10)
        else:
            wait_until(lambda: self._has_checkpoint_since(begun_at), PATIENCE_SECONDS)
            time.sleep(dice.random() * 3)
        if self.cluster.read_state(self.number) != "RUNNING":
            raise RuntimeError(f"it has ended too soon:\n{self.run.log.read_text()[-3000:]}")
        script = self.project / "urgent.sh"
        script.write_text("#!/bin/bash\nsleep 1\n")
        pushed_at = time.monotonic()
        urgent = self.cluster.submit(
            script,
            options=(
                "--partition=urgent",
                "--exclusive",
                f"--output={self.project / 'urgent.txt'}",
            ),
        )
        wait_until(lambda: self.cluster.read_state(urgent) == "RUNNING", PATIENCE_SECONDS)
        freed_at = time.monotonic()
        status, step = self._read_status(), self._read_step()
        self.wait_for("RUNNING")
        when = "in its first seconds" if is_early else "while it trains"
        return (
            f"| {when} | {step:,} | {freed_at - pushed_at:.0f} | "
            f"{time.monotonic() - freed_at:.0f} | {status} |"
        )

    def _has_checkpoint_since(self, moment: float) -> bool:
        files = (self.project / "mlruns" / "checkpoints").glob("*/*.ckpt")
        return any(file.stat().st_mtime > moment for file in files)

    def _read_status(self) -> str:
        rows = self.run.rows("select status from runs")
        return str(rows[0][0]) if rows else "no run yet"

    def _read_step(self) -> int:
        return int(self.run.rows("select max(step) from metrics")[0][0] or 0)


def run_undisturbed(project: Path, overrides: Sequence[str]) -> Run:
    """The same training by a plain command, beside the other in its store."""
    reference = Run("", "undisturbed", project, project / "undisturbed.log")
    with reference.log.open("w") as log:
        command = [".venv/bin/python", "-m", "src.run", *overrides, f"name={reference.name}"]
        subprocess.run(command, cwd=project, stdout=log, stderr=log, check=True)
    return reference


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
