"""What a training says of itself on the way: loss, rate, speed, where the time goes, memory."""

import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from src.terms.bounds import checked


@checked
class Meter(Callback):
    """Logs a window of steps every `trainer.log_every_n_steps` optimizer steps.

    `train/loss` is the mean over all targets of the window, not the last batch's. Tokens are real ones; there is no
    padding to count. Losses stay on their device until a window closes, so that no step waits for the device.

    Written: train/loss, train/lr, train/gradient_norm, train/epoch, train/tokens_per_second, train/step_seconds and
    its parts data_seconds and compute_seconds, and system/peak_memory_gigabytes (of the GPU where there is one, else of
    the process).
    """

    def __init__(self) -> None:
        self._losses: list[tuple[Tensor, int]] = []
        self._tokens = 0
        self._data_seconds = 0.0
        self._started_at = 0.0
        self._ready_at = 0.0
        self._logged_step = 0

    def build(self, folder: Path) -> list[Callback]:
        """Itself: like the other nodes of `callbacks`, it is asked when the run's folder is known."""
        return [self]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started_at = self._ready_at = time.perf_counter()
        self._logged_step = trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._data_seconds += time.perf_counter() - self._ready_at

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._losses.append((outputs["loss"].detach() * trainer.accumulate_grad_batches, outputs["count"]))
        self._tokens += len(batch.tokens.ids)
        step = trainer.global_step
        due = step % trainer.log_every_n_steps == 0 or step == getattr(pl_module, "total_steps", -1)  # type: ignore[attr-defined]
        if due and step != self._logged_step:
            self._close(trainer, pl_module, step)
        self._ready_at = time.perf_counter()

    def _close(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        losses = torch.stack([loss for loss, _ in self._losses]).double().cpu()
        counts = torch.tensor([count for _, count in self._losses], dtype=torch.float64)
        loss = float((losses * counts).sum() / counts.sum())
        elapsed = time.perf_counter() - self._started_at
        steps = step - self._logged_step
        values = {
            "train/loss": loss,
            "train/lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "train/epoch": trainer.current_epoch + self._share_of_epoch(trainer),
            "train/tokens_per_second": self._tokens / elapsed,
            "train/step_seconds": elapsed / steps,
            "train/data_seconds": self._data_seconds / steps,
            "train/compute_seconds": (elapsed - self._data_seconds) / steps,
            "system/peak_memory_gigabytes": peak_memory_gigabytes(),
        }
        norm = getattr(module, "gradient_norm", None)
        if norm is not None:
            values["train/gradient_norm"] = float(norm)
        if trainer.logger is not None:
            trainer.logger.log_metrics(values, step=step)
        module.log("train/loss", loss, prog_bar=True, logger=False, batch_size=1)
        module.log("tokens/s", self._tokens / elapsed, prog_bar=True, logger=False, batch_size=1)
        self._losses, self._tokens, self._data_seconds = [], 0, 0.0
        self._started_at, self._logged_step = time.perf_counter(), step

    @staticmethod
    def _share_of_epoch(trainer: Trainer) -> float:
        return (trainer.fit_loop.epoch_loop.batch_idx + 1) / max(1, trainer.num_training_batches)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._paused_at = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pause = time.perf_counter() - self._paused_at  # validation is no training time
        self._started_at += pause
        self._ready_at += pause


def peak_memory_gigabytes() -> float:
    """Highest so far, in 10^9 bytes."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
