"""One run on 1, then 4, then 2 processes of a CPU, killed by SIGKILL between: `python -m
benchmarks.elastic [folder=DIR]`.

A small pretraining and a small fine-tuning are run undisturbed on one process. Then the same
commands are killed in the midst of an epoch, resumed on four processes, killed again, and resumed
on two. The rows of each optimizer step, as the run has recorded them, must be those of the
undisturbed run, and the final losses the same but for 1e-5. Without dropout, whose noise is each
process's own.

Another fine-tuning is begun by torchrun with `--nnodes=1:2` and `resume=job`: a second agent comes
while it trains, and is killed with its process. Both agents are on this machine.
"""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.setting import RESULTS, ROOT, write
from src.config.command_line import parse_key_values
from src.core.user_errors import UserError
from src.training.checkpoint_files import list_checkpoints, parse_checkpoint_step
from src.training.row_files import read_row_order

MAX_LOSS_DIFFERENCE = 1e-5
PATIENCE_SECONDS = 240.0
SMALL = (
    "callbacks=row_order",
    "callbacks.checkpoint.every_steps=2",
    "callbacks.progress.style=off",
    "model.encoder.dropout=0",
    "tracking.system_metrics=false",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "trainer.precision=fp32",
    "trainer.threads=1",
)
TRAININGS = {
    "pretraining": (
        "+experiment=mlm_quickstart",
        "data.source.train=1500",
        "data.source.validation=40",
        "data.source.test=40",
        "data.batching.batch_size=12",
        "trainer.max_steps=60",
        "trainer.val_check_steps=20",
        "trainer.accumulate_grad_batches=2",
    ),
    "fine-tuning": (
        "+experiment=quickstart_scratch",
        "data.source.train=400",
        "data.source.validation=40",
        "data.source.test=40",
        "data.batching.batch_size=20",
        "data.batching.group_by_length=true",
        "trainer.max_epochs=3",
    ),
}
BY_TORCHRUN = (
    "+experiment=quickstart_scratch",
    "data.source.train=4000",
    "data.source.validation=40",
    "data.source.test=40",
    "data.batching.batch_size=400",
    "data.batching.group_by_length=true",
    "report.page=false",
    "trainer=ddp",
    "trainer.devices=1",
    "trainer.num_nodes=auto",
    "trainer.max_epochs=null",
    # long steps, not many: rounding grows tenfold in 30 to 40 steps of this training
    "trainer.accumulate_grad_batches=4",
    "trainer.max_steps=60",
    "trainer.val_check_steps=20",
    "model.optim.lr=3e-4",
)
AGENT = (
    *("-m", "torch.distributed.run", "--nnodes=1:2", "--nproc-per-node=1", "--max-restarts=3"),
    *("--rdzv-backend=c10d", "--local-addr=127.0.0.1", "--rdzv-conf=last_call_timeout=2"),
)
# the processes of each stretch, and the step at which it is killed
STRETCHES = ((1, 17), (4, 38), (2, None))


class Outcome(NamedTuple):
    """What came of a training."""

    run_id: str
    checkpoints: Path
    losses: dict[str, float]
    weights: Path


class Disturbed(NamedTuple):
    """A training that was killed and went on on other processes, compared with one that was not."""

    training: str
    steps: int
    rows: int
    # in which each row was seen once, and all that were gone through
    exact_epochs: int
    whole_epochs: int
    equal_steps: int
    loss_difference: float
    weight_difference: float
    # where each later stretch went on
    began_at: list[int]

    @property
    def is_same(self) -> bool:
        return (
            self.equal_steps == self.steps
            and self.exact_epochs == self.whole_epochs
            and self.loss_difference <= MAX_LOSS_DIFFERENCE
        )


def train(root: Path, name: str, *words: str, kill_at: int | None = None) -> str:
    """Begin or go on with a run; returns its id. `kill_at`: the step whose checkpoint it is killed
    behind.
    """
    log = root / f"{name}.log"
    with open(log, "a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "src.run", *words, f"tracking.root={root}"],
            cwd=ROOT,
            stdout=file,
            stderr=file,
        )
    until = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < until:
        known = _known_run(log)
        if kill_at is not None and known and _last_step(root, known) >= kill_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return known
        time.sleep(0.02)
    if process.poll() != 0 or kill_at is not None:
        process.kill()
        raise RuntimeError(f"{name} {' '.join(words)}:\n{log.read_text()[-3000:]}")
    known = _known_run(log)
    assert known is not None
    return known


def _last_step(root: Path, run_id: str) -> int:
    found = list_checkpoints(root / "mlruns" / "checkpoints" / run_id)
    return parse_checkpoint_step(found[0]) if found else 0


def look_up(root: Path, run_id: str) -> Outcome:
    """What the store has of a run that has finished."""
    with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as database:
        rows = database.execute(
            "select key, value from latest_metrics where run_uuid = ?", (run_id,)
        ).fetchall()
        status, artifacts = database.execute(
            "select status, artifact_uri from runs where run_uuid = ?", (run_id,)
        ).fetchone()
    if status != "FINISHED":
        raise RuntimeError(f"run {run_id} is {status}")
    losses = {key: value for key, value in rows if key.endswith("/loss") and "reference" not in key}
    weights = Path(artifacts) / "model" / "model.safetensors"
    return Outcome(run_id, root / "mlruns" / "checkpoints" / run_id, losses, weights)


def disturb(training: str, root: Path) -> Disturbed:
    """Run a training undisturbed, then with kills on 1, 4 and 2 processes."""
    command = (*TRAININGS[training], *SMALL, f"data.cache={root}/cache")
    whole = look_up(root, train(root, f"whole-{training}", *command))
    name, run_id = f"killed-{training}", ""
    began_at = []
    for devices, kill_at in STRETCHES:
        words = (f"resume={run_id}", f"trainer.devices={devices}") if run_id else command
        if run_id:
            began_at.append(_last_step(root, run_id))
        run_id = train(root, name, *words, kill_at=kill_at)
    return compare(training, whole, look_up(root, run_id), began_at)


def disturb_torchrun(root: Path) -> Disturbed:
    """Run a training undisturbed, then under one, two, and again one agent of torchrun."""
    command = (*BY_TORCHRUN, *SMALL, f"data.cache={root}/cache")
    whole = look_up(root, train(root, "whole-torchrun", *command))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        places = (f"--rdzv-endpoint=127.0.0.1:{probe.getsockname()[1]}", "--rdzv-id=elastic")
    # without the first variable torchrun does not grow
    variables = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "GLOO_SOCKET_IFNAME": "lo"}
    logs = [root / f"agent-{number}.log" for number in range(2)]

    def start_agent(log: Path) -> "subprocess.Popen[bytes]":
        words = ("-m", "src.run", "resume=job", *command, f"tracking.root={root}")
        with open(log, "w") as file:
            return subprocess.Popen(
                [sys.executable, *AGENT, *places, *words],
                cwd=ROOT,
                stdout=file,
                stderr=file,
                env={**os.environ, **variables},
                start_new_session=True,
            )

    def resumed_at() -> list[int]:
        said = "".join(log.read_text() for log in logs if log.exists())
        return sorted(map(int, re.findall(r"resumed at optimizer step (\d+)", said)))

    def wait_for(what: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not what():
            if time.monotonic() > until or agents[0].poll():
                raise RuntimeError("".join(log.read_text()[-3000:] for log in logs if log.exists()))
            time.sleep(0.05)

    agents = [start_agent(logs[0])]
    try:
        wait_for(lambda: _known_run(logs[0]) is not None)
        run_id = _known_run(logs[0])
        assert run_id is not None
        wait_for(lambda: _last_step(root, run_id) >= 10)
        agents.append(start_agent(logs[1]))
        wait_for(lambda: len(resumed_at()) > 0)
        wait_for(lambda: _last_step(root, run_id) >= resumed_at()[0] + 4)
        # the agent and its process, as where a machine is lost
        for process in psutil.Process(agents[1].pid).children(recursive=True):
            process.kill()
        agents[1].kill()
        wait_for(lambda: agents[0].poll() is not None)
    finally:
        for agent in agents:
            for process in psutil.Process(agent.pid).children() if agent.poll() is None else ():
                process.kill()
            agent.kill()
            agent.wait()
    return compare("fine-tuning by torchrun", whole, look_up(root, run_id), resumed_at())


def _known_run(log: Path) -> str | None:
    """The id of the run that a program has printed."""
    known = re.findall(r"^run ([0-9a-f]{32}): ", log.read_text(), re.MULTILINE)
    return str(known[-1]) if known else None


def compare(training: str, whole: Outcome, found: Outcome, began_at: list[int]) -> Disturbed:
    """A run beside the undisturbed one."""
    from safetensors.torch import load_file

    expected, seen = (read_row_order(each.checkpoints) for each in (whole, found))
    if whole.losses.keys() != found.losses.keys() or not found.losses:
        raise RuntimeError(f"{training}: losses {found.losses} instead of {whole.losses}")
    first, second = (load_file(each.weights) for each in (whole, found))
    equal = sum(one == other for one, other in zip(expected, seen, strict=False))
    epochs = [
        sorted(row for line in seen if line.epoch == epoch for row in line.rows)
        for epoch in range(1 + seen[-1].epoch)
    ]
    count = len(epochs[0])
    if len(epochs[-1]) < count:
        # training ends in its midst
        del epochs[-1]
    return Disturbed(
        training,
        steps=max(len(expected), len(seen)),
        rows=count,
        exact_epochs=sum(rows == list(range(count)) for rows in epochs),
        whole_epochs=len(epochs),
        equal_steps=equal,
        loss_difference=max(abs(found.losses[key] - whole.losses[key]) for key in found.losses),
        weight_difference=max(float((first[key] - second[key]).abs().max()) for key in first),
        began_at=began_at,
    )


DISTURBANCES: dict[str, Callable[[Path], Disturbed]] = {
    "pretraining": lambda root: disturb("pretraining", root),
    "fine-tuning": lambda root: disturb("fine-tuning", root),
    "torchrun": disturb_torchrun,
}


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 where each run has the rows and the losses of the undisturbed one."""
    given = parse_key_values(arguments, {"folder": str(RESULTS), "only": ",".join(DISTURBANCES)})
    with tempfile.TemporaryDirectory(prefix="elastic-") as root:
        outcomes = [DISTURBANCES[name](Path(root)) for name in given["only"].split(",")]
    lines = [
        "A run on 1 process, killed (SIGKILL), resumed on 4, killed, resumed on 2 with "
        "`resume=ID trainer.devices=N` alone, beside the same command undisturbed on 1 process. "
        "Rows and a digest of their tokens after masking are compared step by step, from the "
        "runs' own record (`callbacks=row_order`); losses are the last train/loss, val/loss and "
        f"test/loss, to be the same but for {MAX_LOSS_DIFFERENCE:g}. fp32, no dropout.",
        "",
        "By torchrun: `torchrun --nnodes=1:2 --rdzv-id=elastic -m src.run resume=job ... "
        "trainer.num_nodes=auto`, begun by one agent; a second comes, and is killed with its "
        "process (SIGKILL). Agents share this machine; there were no hosts to cut off.",
        "",
        "| training | resumed at steps | steps with equal rows | rows | whole epochs with each row "
        "once | largest difference of a loss | of a weight |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {each.training} | {', '.join(map(str, each.began_at))} | {each.equal_steps} of "
            f"{each.steps} | {each.rows:,} | {each.exact_epochs} of {each.whole_epochs} | "
            f"{each.loss_difference:.1e} | {each.weight_difference:.1e} |"
            for each in outcomes
        ),
    ]
    command = "python -m benchmarks.elastic"
    write("elastic", "One run on 1, 4 and 2 processes", command, lines, Path(given["folder"]))
    print(json.dumps([each._asdict() for each in outcomes]))
    return 0 if all(each.is_same for each in outcomes) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as fault:
        sys.exit(f"error: {fault}")
