"""Ranks together: they train as one process does, under any launcher, and each way in which one is
lost is recorded.

Ranks here are forks of the test's process that talk through gloo, but for the one that a first rank
starts itself.
"""

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from src.config.build_nodes import build_node
from src.pipeline.run import run
from src.tracking.store import Store
from src.training.distributed import RankFailureCallback
from src.training.launcher import RankInfo, RankLauncher
from src.training.rank_process import LostRank
from tests.training.forked_ranks import QUIET, forked, free_port, on_ranks
from tests.training.small_trainings import MASKED, SMALL, TAGGED, Compose, train

pytestmark = QUIET
EXACT = ("model.encoder.dropout=0", "trainer.log_every_n_steps=1")
ROWS = ("data=generated", "model=classification", *SMALL)
LAUNCHERS: dict[str, Callable[[int], dict[str, object]]] = {
    "torchrun": lambda rank: {
        "TORCHELASTIC_RUN_ID": "none",
        "RANK": rank,
        "LOCAL_RANK": rank,
        "GROUP_RANK": 0,
        "WORLD_SIZE": 2,
        "LOCAL_WORLD_SIZE": 2,
    },
    "SLURM": lambda rank: {
        "SLURM_NTASKS": 2,
        "SLURM_NTASKS_PER_NODE": 2,
        "SLURM_PROCID": rank,
        "SLURM_LOCALID": rank,
        "SLURM_NODEID": 0,
        "SLURM_JOB_ID": 4242,
        "SLURM_JOB_NAME": "train",
        "SLURM_NODELIST": "localhost",
    },
}


@pytest.fixture
def ready(composed: Compose, tmp_path: Path) -> Compose:
    """A config whose data are prepared: a forked process has none of the threads that learn a
    vocabulary.
    """

    def make(*overrides: str) -> dict[str, Any]:
        config = composed(*overrides, f"data.cache={tmp_path}/cache")
        build_node(config["data"]).build().prepare_data()
        return config

    return make


def outcome(
    config: dict[str, Any], folder: Path, *watching: Callback, **options: Any
) -> dict[str, Any]:
    made = train(config, folder, *watching, **options)
    weights = made.trainer.strategy.lightning_module_state_dict()
    return {
        "points": made.points.points,
        "weights": {key: value.clone() for key, value in weights.items()},
    }


@pytest.mark.parametrize(
    ("settings", "size", "alone", "each"),
    [
        ((*MASKED, "trainer.max_epochs=1", "data.source.train=42"), 2, 8, 4),
        ((*ROWS, "trainer.max_epochs=1", "trainer.accumulate_grad_batches=2"), 2, 12, 6),
        (
            (*ROWS, "trainer.max_epochs=2", "data.source.train=25", "data.source.validation=7"),
            3,
            12,
            4,
        ),
        ((*TAGGED, "data.source.train=25", "data.source.validation=7"), 3, 12, 4),
    ],
    ids=[
        "masked language modelling",
        "accumulation",
        "three ranks and a row that remains",
        "tagged words, on three ranks with a row that remains",
    ],
)
def test_ranks_train_as_one_process_does(
    settings: tuple[str, ...], size: int, alone: int, each: int, ready: Compose, tmp_path: Path
) -> None:
    settings = (
        *settings,
        *EXACT,
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.precision=fp32",
    )
    whole = outcome(
        ready(*settings, "trainer.devices=1", f"data.batching.batch_size={alone}"),
        tmp_path / "whole",
    )
    shared = ready(*settings, f"trainer.devices={size}", f"data.batching.batch_size={each}")
    together = on_ranks(
        lambda ranks: outcome(shared, tmp_path / "shared", launcher=ranks),
        tmp_path / "of shared",
        size=size,
    )
    first = together[0]
    assert any(key == "val/loss" for key, _ in first["points"])
    assert first["points"] == pytest.approx(whole["points"], rel=2e-4, abs=1e-6)
    for rank in together:
        assert rank["weights"].keys() == whole["weights"].keys()
        for name, weights in rank["weights"].items():
            torch.testing.assert_close(weights, whole["weights"][name], rtol=0, atol=1e-4, msg=name)


def small(root: Path, database: Path) -> tuple[str, ...]:
    """A project with a store, and the settings of a run in it."""
    (root / "mlruns").mkdir(parents=True)
    copy(database, root / "mlruns" / "mlflow.db")
    return (
        *ROWS,
        *EXACT,
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.threads=1",
        "trainer.precision=fp32",
        "data.batching.batch_size=8",
        "callbacks.progress.style=off",
        "tracking.system_metrics=false",
        f"tracking.root={root}",
        "trainer.max_epochs=1",
        # a fork of a process that has computed gradients of explanations cannot compute others
        "report.page=false",
    )


@pytest.mark.parametrize("launcher", list(LAUNCHERS))
def test_processes_of_a_launcher_are_one_run(
    launcher: str, ready: Compose, tmp_path: Path, blank_database: Path
) -> None:
    config = ready(*small(tmp_path / "project", blank_database))
    port = free_port()

    def one(rank: int) -> None:
        variables = LAUNCHERS[launcher](rank) | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in variables.items()}
        run(**config)

    processes = [forked(lambda rank=rank: one(rank)) for rank in range(2)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    [found] = Store(root=str(tmp_path / "project")).search_runs()
    assert (found.status, found.tags["ranks"], found.metrics["test/support"]) == (
        "FINISHED",
        "2",
        4,
    )


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_rank_may_take_its_time_to_start_but_not_to_answer(
    strategy: str, ready: Compose, tmp_path: Path
) -> None:
    config = ready(
        *ROWS,
        f"trainer={strategy}",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.precision=fp32",
        "trainer.max_epochs=1",
    )
    hung, said, port = tmp_path / "hung", tmp_path / "said", free_port()

    class Hang(Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            if trainer.global_step == 2:
                hung.touch()
                time.sleep(60)

    def one(rank: int) -> None:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        ranks = RankLauncher(
            RankInfo(rank, 2, rank, 2, is_launched_externally=True),
            threads_per_rank=1,
            on_rank_failure=print,
            timeout_seconds=1,
        )
        if rank == 1:
            # longer than a rank may be silent later
            time.sleep(1.5)
        try:
            with ranks:
                # A launcher that this test is not: the ranks find each other as those that a first
                # one has started.
                ranks.rank_info = ranks.rank_info._replace(is_launched_externally=False)
                ranks.port = port
                outcome(config, tmp_path / "run", *([Hang()] if rank == 1 else []), launcher=ranks)
        except LostRank as error:
            waited = time.time() - hung.stat().st_mtime
            said.write_text(
                f"{error}\n{type(error.__cause__).__name__}: {error.__cause__}\n{waited}"
            )

    first, second = (forked(lambda rank=rank: one(rank)) for rank in range(2))
    first.join(60)
    second.kill()
    second.join()
    words, cause, waited = said.read_text().splitlines()
    assert words == "rank 1 of 2 did not answer for 1 s (trainer.rank_timeout_seconds)"
    assert cause.startswith("RuntimeError: ") and "imed out" in cause
    assert 0.9 < float(waited) < 15


def test_a_first_rank_that_is_killed_ends_the_run_as_failed(
    ready: Compose, tmp_path: Path, blank_database: Path
) -> None:
    config = ready(*small(tmp_path / "project", blank_database), "trainer.max_epochs=500")

    def kill(self: RankFailureCallback, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    def first() -> None:
        RankFailureCallback.on_train_batch_end = kill
        run(**config)

    process = forked(first)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    died_at = time.monotonic()
    # as it stands, unopened
    with closing(sqlite3.connect(tmp_path / "project" / "mlruns" / "mlflow.db")) as database:
        while database.execute("SELECT status FROM runs").fetchall() == [("RUNNING",)]:
            assert time.monotonic() - died_at < 40
            time.sleep(0.1)
    [found] = Store(root=str(tmp_path / "project")).search_runs()
    assert found.status == "FAILED"
    assert found.tags["failure.reason"].startswith("the process vanished without a word")
    assert found.tags["failure.reason"].endswith("(rank 0 of 2)")
