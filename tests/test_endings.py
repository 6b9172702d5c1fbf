"""How whole runs end: what the store says, what is kept, and what a person is told."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from safetensors.torch import load_file

from src import runs
from src.config.compose import to_plain_config
from src.core.failures import NonFiniteLoss
from src.core.run_ending import TerminatedBySignal, run_id_of_error
from src.model.module import EncoderModule
from src.model.objectives.classification import Classification
from src.pipeline.resume_hint import report_error
from src.pipeline.run import run
from src.tracking.run_record import RunRecord
from src.tracking.store import Store
from src.training import non_finite_recovery
from src.training.checkpoint_files import find_newest_checkpoint

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "+experiment=quickstart_scratch",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.max_epochs=1",
    "trainer.log_every_n_steps=1",
    "callbacks.progress.style=off",
    "tracking.system_metrics=false",
    "data.source.train=48",
    "data.source.validation=20",
    "data.source.test=20",
    "data.batching.batch_size=8",
    "callbacks.checkpoint.monitor=val/loss",
    "callbacks.checkpoint.mode=min",
    "callbacks.checkpoint.every_steps=2",
)
# of the epoch
BATCHES = 6


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "mlruns").mkdir()
    shutil.copy(blank_database, root / "mlruns" / "mlflow.db")
    return root


@pytest.fixture
def store(project: Path) -> Store:
    return Store(root=str(project))


@pytest.fixture
def trained(project: Path) -> Callable[..., Any]:
    def train(*overrides: str) -> Any:
        GlobalHydra.instance().clear()
        places = (f"tracking.root={project}", f"data.cache={project}/.cache")
        with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "conf")):
            config = to_plain_config(compose("config", [*SMALL, *overrides, *places]))
        return run(**config)

    return train


def ended(store: Store) -> tuple[str, str]:
    [newest] = store.search_runs(limit=1)
    return newest.status, newest.tags.get("failure.reason", "")


class Spoil:
    """Makes the loss, or only its gradient, NaN for some batches: those of these calls, whenever
    they come again.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, calls: set[int], *, gradient: bool = False
    ) -> None:
        # the rows of each training batch
        self.seen: list[frozenset[int]] = []
        bad: set[frozenset[int]] = set()
        forward = Classification.forward

        def spoilt(objective: Classification, encoder: Any, batch: Any) -> Any:
            result = forward(objective, encoder, batch)
            if not encoder.training:
                return result
            self.seen.append(frozenset(batch.row_ids.tolist()))
            if len(self.seen) in calls:
                bad.add(self.seen[-1])
            if self.seen[-1] not in bad:
                return result
            if gradient:
                result.loss.register_hook(lambda slope: slope * float("nan"))
                return result
            return result._replace(loss=result.loss * float("nan"))

        monkeypatch.setattr(Classification, "forward", spoilt)


def test_a_batch_that_is_not_finite_is_left_out_from_the_last_checkpoint_on(
    trained: Callable[..., Any],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # after the checkpoint of step 2
    spoil = Spoil(monkeypatch, {4})
    outcome = trained("trainer.on_non_finite=skip")
    assert (
        "the loss is nan at optimizer step 3, epoch 0, batch 3; back to step=2.ckpt; 1 batches "
        "are left out so far\n"
    ) in capsys.readouterr().err
    # four; from batch 2 on again, without batch 3
    assert len(spoil.seen) == 4 + (BATCHES - 3)
    assert spoil.seen[2] == spoil.seen[4] and spoil.seen[3] not in spoil.seen[4:]
    found = store.find_run(outcome.run_id)
    assert found.status == "FINISHED" and found.tags["skipped_batches"] == "epoch 0 batch 3"
    assert found.metrics["train/skipped_batches"] == 1
    steps = [
        each.step for each in store.open().client.get_metric_history(outcome.run_id, "train/loss")
    ]
    # each once; the step without its batch has no loss
    assert steps == [1, 2, 3, 5, 6]
    kept = find_newest_checkpoint(store.runs_folder / "checkpoints" / outcome.run_id).path
    assert kept is not None and torch.load(kept, weights_only=True)["skips"] == [[[0, 3]]]

    spoil.seen.clear()
    again = trained("trainer.on_non_finite=skip", "callbacks.checkpoint.every_steps=4")
    # there was no checkpoint yet: from the beginning
    assert len(spoil.seen) == 4 + (BATCHES - 1)
    first, second = (
        load_file(store.fetch_model_folder(each.run_id) / "model.safetensors")
        for each in (outcome, again)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_gradient_takes_all_batches_of_its_step_and_the_patience_ends(
    trained: Callable[..., Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # from the beginning again: calls 5 and 6, then 7 and 8 of another step
    Spoil(monkeypatch, {3, 8}, gradient=True)
    with pytest.raises(NonFiniteLoss) as caught:
        trained(
            "trainer.accumulate_grad_batches=2", "trainer.on_non_finite=skip", "trainer.max_skips=1"
        )
    assert caught.value.batch_positions == [(0, 4), (0, 5)]
    status, reason = ended(store)
    assert status == "FAILED"
    assert (
        "the gradient is not finite at optimizer step 2, epoch 0, batches 4 to 5: nothing was "
        "updated" in reason
    )
    assert reason.endswith("as many batches were left out as trainer.max_skips=1 allows")
    assert store.search_runs(limit=1)[0].tags["skipped_batches"] == "epoch 0 batch 2 to 3"


def test_where_a_step_is_looked_at_later_the_steps_are_repeated_one_by_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a GPU, which says only that a gradient of the last steps was not finite."""
    said: list[tuple[str, object]] = []

    class Record:
        run_id = "ab" * 16
        skip_logged_steps = staticmethod(lambda: said.append(("repeated", None)))
        set_tag = staticmethod(lambda key, value: said.append((key, value)))
        log_metrics = staticmethod(lambda values, step: said.append((f"step {step}", values)))

    class Module:
        def __init__(self) -> None:
            self.skipped_batches: list[Any] = []
            self.check_finite_until_step = -1

    watched: list[int] = []

    class Loop:
        def fit(self, module: Any, **_: object) -> None:
            watched.append(module.check_finite_until_step)
            if module.check_finite_until_step < 0:
                raise NonFiniteLoss("one of the last steps before 10: it was skipped", 10)
            if not module.skipped_batches:
                raise NonFiniteLoss("the gradient at step 7: nothing was updated", 7, [(0, 7)])

    def fit(most_skips: int | None) -> Any:
        return non_finite_recovery.fit_with_recovery(
            Module(),
            None,
            build_trainer=Loop,
            build_module=Module,
            checkpoint=None,
            is_foreign_checkpoint=False,
            checkpoint_folder=tmp_path,  # type: ignore[arg-type]
            max_skips=most_skips,
            record=Record(),  # type: ignore[arg-type]
        )

    # walks all that pytest holds
    monkeypatch.setattr(non_finite_recovery.gc, "collect", lambda: None)
    module, _ = fit(3)
    assert watched == [-1, 10, 10] and module.skipped_batches == [[(0, 7)]]
    assert said == [
        ("repeated", None),
        ("step 10", {"train/skipped_batches": 0}),
        ("skipped_batches", "none yet"),
        ("repeated", None),
        ("step 7", {"train/skipped_batches": 1}),
        ("skipped_batches", "epoch 0 batch 7"),
    ]
    with pytest.raises(NonFiniteLoss):
        fit(None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_the_batch_is_found_by_repeating_the_steps(
    trained: Callable[..., Any],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil = Spoil(monkeypatch, {4})
    outcome = trained("trainer.accelerator=gpu", "trainer.on_non_finite=skip")
    said = capsys.readouterr().err
    assert (
        "in one of the last optimizer steps before 4" in said
        and said.count("back to step=2.ckpt") == 2
    )
    assert (
        "the gradient is not finite at optimizer step 3, epoch 0, batch 3; back to step=2.ckpt; 1 "
        "batches" in said
    )
    assert (
        spoil.seen[2] == spoil.seen[4] == spoil.seen[6]
        and spoil.seen[3] == spoil.seen[5] != spoil.seen[7]
    )
    assert store.find_run(outcome.run_id).tags["skipped_batches"] == "epoch 0 batch 3"


def test_what_fails_after_the_training_says_that_it_was_complete(
    trained: Callable[..., Any],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import src.evaluation.report as reports

    def fail(*_: object, **__: object) -> None:
        raise ValueError("no rows")

    with monkeypatch.context() as broken, pytest.raises(ValueError) as caught:
        broken.setattr(reports, "build_report", fail)
        trained()
    assert ended(store) == (
        "FAILED",
        f"ValueError: no rows; training itself was complete (optimizer step {BATCHES})",
    )
    assert report_error(caught.value) == 1
    said = capsys.readouterr().err
    assert (
        "Traceback" in said and "error: ValueError: no rows; training itself was complete" in said
    )
    assert said.splitlines()[-1].startswith("resume: python -m src.run resume=")


def test_a_lack_of_memory_is_no_bug(
    trained: Callable[..., Any],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate "
            "memory"
        )

    with monkeypatch.context() as broken, pytest.raises(RuntimeError) as caught:
        broken.setattr(Classification, "forward", fail)
        trained()
    status, reason = ended(store)
    assert status == "FAILED" and reason.startswith(
        "out of memory (DefaultCPUAllocator: can't allocate memory): less"
    )
    assert (
        "; now data.batching.batch_size=8 " in reason
        and "model.gradient_checkpointing=false" in reason
    )
    report_error(caught.value)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("moment", ["step", "validation", "test"])
def test_a_signal_leaves_a_checkpoint_and_the_way_back(
    trained: Callable[..., Any], store: Store, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    forward, seen = Classification.forward, {True: 0, False: 0}

    def signalled(objective: Classification, encoder: Any, batch: Any) -> Any:
        seen[encoder.training] += 1
        if (moment == "step" and seen[True] == 4) or (moment == "validation" and seen[False] == 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(objective, encoder, batch)

    monkeypatch.setattr(Classification, "forward", signalled)
    if moment == "test":
        monkeypatch.setattr(
            EncoderModule, "on_test_epoch_start", lambda _: os.kill(os.getpid(), signal.SIGTERM)
        )
    with pytest.raises(TerminatedBySignal) as caught:
        trained("trainer.accumulate_grad_batches=3", "callbacks.checkpoint.every_steps=null")
    run_id = run_id_of_error(caught.value)
    assert caught.value.code == 143 and run_id is not None
    assert ended(store) == ("KILLED", "terminated (SIGTERM)")
    kept = find_newest_checkpoint(store.runs_folder / "checkpoints" / run_id).path
    # the step that was under way was made whole
    assert kept is not None and kept.name == "step=2.ckpt"
    assert not (store.runs_folder / "alive" / run_id).exists()


def test_a_worker_that_is_killed_is_told_of_and_ends_the_run(
    trained: Callable[..., Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Classification.forward

    def killing(objective: Classification, encoder: Any, batch: Any) -> Any:
        if encoder.training:
            for worker in multiprocessing.active_children():
                worker.kill()
                # the system tells of it meanwhile
                time.sleep(0.5)
        return forward(objective, encoder, batch)

    monkeypatch.setattr(Classification, "forward", killing)
    with pytest.raises(RuntimeError):
        trained("data.num_workers=1")
    status, reason = ended(store)
    assert status == "FAILED" and reason.startswith("a data worker (process ")
    # Which of the two torch says hangs on whether it hears of the death by a signal or finds the
    # worker gone.
    assert (
        re.search(r"was killed \(Killed\)|ended unexpectedly", reason)
        and "data.num_workers=0" in reason
    )


def command(*overrides: str) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "src.run", *SMALL, *overrides]
    return subprocess.Popen(
        words,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_signal_to_all_processes_of_a_run_and_one_before_there_is_a_run(project: Path) -> None:
    early = command()
    running = command(
        f"tracking.root={project}",
        f"data.cache={project}/.cache",
        "data.num_workers=1",
        "trainer.max_epochs=9999",
        "callbacks.progress.style=lines",
        "callbacks.progress.line_seconds=0",
    )
    time.sleep(0.3)
    early.send_signal(signal.SIGINT)
    said, _ = early.communicate(timeout=60)
    # the latter while Python itself starts
    assert early.returncode in (130, -signal.SIGINT) and "run " not in said

    assert running.stdout is not None
    assert any(line.startswith("step 9/") for line in iter(running.stdout.readline, ""))
    children = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGTERM)
    rest, _ = running.communicate(timeout=60)
    assert running.returncode == 143
    assert "SIGTERM: ends after this optimizer step, with a checkpoint (again: now)" in rest
    assert "Traceback" not in rest
    assert rest.splitlines()[-1].startswith("resume: python -m src.run resume=")
    assert children and not psutil.wait_procs(children, timeout=10)[1]


def test_runs_are_listed_and_shown(
    store: Store, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = {"callbacks.checkpoint.monitor": "val/f1", "callbacks.checkpoint.mode": "max"}
    with (
        pytest.raises(TerminatedBySignal),
        RunRecord(store=store, name="x", kind="k", params=params, tags={"job": "7"}) as killed,
    ):
        for step, value in ((1, 0.5), (2, 0.75), (3, 0.25)):
            killed.log_metrics({"val/f1": value}, step=step)
        raise TerminatedBySignal(signal.SIGTERM)
    capsys.readouterr()

    def said(*arguments: str) -> str:
        assert runs.main([*arguments, "--root", str(project)]) == 0
        return capsys.readouterr().out

    head, row, reason = said("--status", "killed", "--tag", "job=7", "--kind", "k").splitlines()
    assert head.split() == [
        "ID",
        "STATUS",
        "KIND",
        "STARTED",
        "LENGTH",
        "STEP",
        "METRIC",
        "TEST",
        "NAME",
    ]
    assert row.split()[:3] == [killed.run_id[:8], "KILLED", "k"]
    assert (
        row.endswith("3     val/f1 0.25 (best 0.75 at 2)        x")
        and reason.strip() == "terminated (SIGTERM)"
    )
    assert said("--tag", "job=7", "--ids") == f"{killed.run_id}\n"
    [plain] = json.loads(said("--tag", "job=7", "--json"))
    assert (plain["id"], plain["best"], plain["best_step"], plain["last"]) == (
        killed.run_id,
        0.75,
        2,
        0.25,
    )
    assert said("--tag", "job=8") == "no run is like that\n"
    shown = said(killed.run_id[:8])
    assert (
        f"run:         {killed.run_id}\n" in shown
        and "reason:      terminated (SIGTERM)\n" in shown
    )
    assert shown.endswith(
        f"resume:      python -m src.run resume={killed.run_id[:8]} tracking.root={project}\n"
    )
    assert json.loads(said(killed.run_id, "--json"))["checkpoints"] == []
    assert said("--repair") == "0 runs were dead and are KILLED now\n"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("--statsu", "KILLED"), "there is no option --statsu; did you mean '--status'?"),
        (("--status", "dead"), "--status dead: valid: FAILED, FINISHED, KILLED, RUNNING"),
        (("--limit", "0"), "--limit 0: expected a whole number from 1 to 50000"),
        (("--tag", "kind"), "--tag kind: expected KEY=VALUE"),
        (
            ("--tag", "kind='x\""),
            "'\\'x\"': both kinds of quotation marks cannot be searched for (tags.`kind`)",
        ),
        (("--repair", "abcdef"), "--repair looks at all runs: leave 'abcdef' out"),
        (("abcdef", "abcdee"), "unrecognized arguments: abcdee (python -m src.runs --help)"),
    ],
)
def test_mistakes_in_what_is_asked_of_the_list(
    typed: tuple[str, ...], message: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runs.main([*typed, "--root", str(project)]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_list_of_nothing_makes_no_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        runs.main(["--root", str(tmp_path)]) == 0
        and runs.main(["--root", str(tmp_path), "--repair"]) == 0
    )
    assert (
        capsys.readouterr().out == f"no run has been kept yet in {tmp_path}/mlruns/mlflow.db\n" * 2
    )
    assert list(tmp_path.iterdir()) == []
