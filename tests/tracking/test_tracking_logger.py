"""Metrics on their way: buffered, in order, kept when the store is away; and Lightning's own endings."""

import os
import signal
import threading
import time
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from src.tracking.ending import Terminated
from src.tracking.logger import RunLogger
from src.tracking.sender import Point, Sender
from src.tracking.session import _open
from src.tracking.store import Store


class Sink:
    """Where a sender writes to: counts calls, and is out of reach while `away`."""

    def __init__(self) -> None:
        self.calls: list[list[Point]] = []
        self.given_up: list[Point] = []
        self.away = False

    def write(self, points: list[Point]) -> None:
        if self.away:
            raise OSError("no route")
        self.calls.append(points)

    def sender(self, flush_seconds: float = 60.0) -> Sender:
        return Sender(self.write, self.given_up.extend, flush_seconds)

    @property
    def values(self) -> list[float]:
        return [point.value for call in self.calls for point in call]


def test_saving_and_finalizing_write_nothing() -> None:
    sink = Sink()
    sender = sink.sender()
    logger = RunLogger(sender=sender, experiment="e", run_id="r")
    for step in range(50):
        logger.log_metrics({"train/loss": float(step)}, step)
        logger.save()
    logger.finalize("success")
    time.sleep(0.1)
    assert sink.calls == []
    sender.close()
    assert len(sink.calls) == 1 and sink.values == [float(step) for step in range(50)]
    assert (logger.name, logger.version) == ("e", "r")


def test_many_points_do_not_wait_for_the_clock() -> None:
    sink = Sink()
    sender = sink.sender()
    for step in range(500):
        sender.put({"a": step}, step)
    deadline = time.monotonic() + 5
    while not sink.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(sink.values) == 500
    sender.close()


def test_the_clock_flushes() -> None:
    sink = Sink()
    sender = sink.sender(flush_seconds=0.05)
    sender.put({"a": 1.0}, 0)
    deadline = time.monotonic() + 5
    while not sink.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sink.values == [1.0]
    sender.close()


def test_points_outlive_a_store_that_was_away(capsys: pytest.CaptureFixture[str]) -> None:
    sink = Sink()
    sink.away = True
    sender = sink.sender(flush_seconds=0.01)
    for step in range(5):
        sender.put({"a": step}, step)
        time.sleep(0.02)
    sink.away = False
    sender.put({"a": 5.0}, 5)
    sender.close()
    assert sink.values == [0, 1, 2, 3, 4, 5] and sink.given_up == []
    assert capsys.readouterr().err.count("tried again") == 1


def test_what_cannot_be_written_is_given_up_at_the_end() -> None:
    sink = Sink()
    sink.away = True
    sender = sink.sender()
    sender.put({"a": 1.0}, 3)
    sender.close()
    assert [(point.key, point.value, point.step) for point in sink.given_up] == [("a", 1.0, 3)]


def test_kept_writes_arrive_when_the_store_is_next_opened(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = type(store.client())

    def refuse(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as broken, store.record(name="x", kind="k", params={}) as run:
        for name in ("log_batch", "log_artifact", "set_terminated"):
            broken.setattr(client, name, refuse)
        run.metrics({"test/accuracy": 0.9}, step=10)
        run.tag("later", "yes")
        run.text("hello", "report/note.md")
    assert store.find(run.run_id).status == "RUNNING"
    assert "4 writes of this run could not reach the store; they wait in" in capsys.readouterr().err
    _open.cache_clear()  # as another process would
    found = store.find(run.run_id)
    assert found.metrics == {"test/accuracy": 0.9} and found.tags["later"] == "yes" and found.status == "FINISHED"
    assert os.path.exists(f"{found.artifact_uri}/report/note.md")
    assert capsys.readouterr().out == (f"tracking: 4 writes that run {run.run_id} had to keep have reached the store\n")
    assert [path.name for path in (store.runs_folder / "outbox").iterdir() if path.name != ".lock"] == []


class Tiny(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        loss = self.layer(batch[0]).square().mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Disturb(Callback):
    """Sends this process a signal in the middle of the third batch."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        self.last = -1

    def on_before_backward(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 2:
            os.kill(os.getpid(), self.signum)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.last = trainer.global_step


def fit(logger: RunLogger, *callbacks: Callback) -> None:
    trainer = Trainer(
        logger=logger,
        callbacks=list(callbacks),
        max_steps=6,
        accelerator="cpu",
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Tiny(), DataLoader(TensorDataset(torch.ones(6, 2)), batch_size=1))


quiet = pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")


@quiet
def test_lightning_logs_through_the_record(store: Store) -> None:
    with store.record(name="x", kind="k", params={}) as run:
        fit(run.logger)
        assert store.find(run.run_id).status == "RUNNING"
    history = store.client().get_metric_history(run.run_id, "train/loss")
    assert [point.step for point in history] == [0, 1, 2, 3, 4, 5]
    assert store.find(run.run_id).status == "FINISHED"


@quiet
def test_sigterm_while_lightning_fits_ends_at_the_batch(store: Store) -> None:
    disturb = Disturb(signal.SIGTERM)
    with pytest.raises(Terminated) as caught, store.record(name="x", kind="k", params={}) as run:
        fit(run.logger, disturb)
    found = store.find(run.run_id)
    assert (found.status, found.tags["failure.reason"]) == ("KILLED", "terminated (SIGTERM)")
    assert caught.value.code == 143 and disturb.last == 3
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


@quiet
def test_ctrl_c_while_lightning_fits(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.record(name="x", kind="k", params={}) as run:
        fit(run.logger, Disturb(signal.SIGINT))
    found = store.find(run.run_id)
    assert (found.status, found.tags["failure.reason"]) == ("KILLED", "interrupted (Ctrl-C)")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
