"""Lightning's logger, and the status of runs that end while Lightning fits."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from src.core.run_ending import TerminatedBySignal
from src.tracking import outbox
from src.tracking.logger import RunLogger
from src.tracking.outbox import JournalPosition, Outbox
from src.tracking.run_record import RunRecord
from src.tracking.store import Store
from src.tracking.write_buffer import WriteBuffer
from src.training.step_control import StepControl


def test_saving_and_finalizing_write_nothing(tmp_path: Path) -> None:
    box = Outbox(tmp_path, "a" * 32, {})
    buffer = WriteBuffer(box)
    buffer.start()

    def record_metrics(values: dict[str, float], *, step: int) -> None:
        buffer.add_metrics(values, step)

    logger = RunLogger(record_metrics=record_metrics, experiment="e", run_id="r")
    for step in range(50):
        logger.log_metrics({"train/loss": float(step)}, step)
        logger.save()
    logger.finalize("success")
    assert outbox.count_bytes_after(box.folder, JournalPosition()) == 0
    buffer.close()
    steps = [
        entry["step"]
        for entry, _ in outbox.read_entries(box.folder, JournalPosition())
        if entry and entry["kind"] == "points"
    ]
    assert steps == list(range(50))
    assert (logger.name, logger.version) == ("e", "r")


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
    with RunRecord(store=store, name="x", kind="k", params={}) as run:
        fit(run.logger)
        assert store.find_run(run.run_id).status == "RUNNING"
    history = store.open().client.get_metric_history(run.run_id, "train/loss")
    assert [point.step for point in history] == [0, 1, 2, 3, 4, 5]
    assert store.find_run(run.run_id).status == "FINISHED"


@quiet
def test_sigterm_while_lightning_fits_ends_at_the_batch(store: Store) -> None:
    disturb = Disturb(signal.SIGTERM)
    with (
        pytest.raises(TerminatedBySignal) as caught,
        RunRecord(store=store, name="x", kind="k", params={}) as run,
    ):
        fit(run.logger, disturb, StepControl(signals=run.signals))
    found = store.find_run(run.run_id)
    assert (found.status, found.tags["failure.reason"]) == ("KILLED", "terminated (SIGTERM)")
    assert caught.value.code == 143 and disturb.last == 3
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


@quiet
def test_ctrl_c_while_lightning_fits(store: Store) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        RunRecord(store=store, name="x", kind="k", params={}) as run,
    ):
        fit(run.logger, Disturb(signal.SIGINT))
    found = store.find_run(run.run_id)
    assert (found.status, found.tags["failure.reason"]) == ("KILLED", "interrupted (Ctrl-C)")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
