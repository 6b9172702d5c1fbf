"""Measures a few real steps and validation batches: time, memory, the size of a checkpoint."""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from src.training.lightning_internals import is_fitting, is_step_complete
from src.training.training_metrics import peak_memory_gigabytes, process_cost
from src.training.training_state import collect_rank_state, collect_training_state

# A step that takes more than so many medians did something once, as a compilation.
_OUTLIER_MEDIANS = 3


class Timing(NamedTuple):
    """What a step, or a batch of validation, took, and the tokens in it."""

    seconds: float
    tokens: int


def estimate_seconds_per_token(timings: Sequence[Timing]) -> float:
    """The time of a token, of all timings but those that stand out; the first is a warm-up if
    there are others.
    """
    counted = timings[1:] or timings
    middle = median(seconds / max(1, tokens) for seconds, tokens in counted)
    usual = [
        timing
        for timing in counted
        if timing.seconds / max(1, timing.tokens) <= _OUTLIER_MEDIANS * middle
    ]
    return sum(timing.seconds for timing in usual) / max(1, sum(timing.tokens for timing in usual))


class StepProbeCallback(Callback):
    """Times the steps of a short fit and its validation, and ends it when it has seen enough.

    Args:
        min_steps: steps to be timed, beside the first one.
        min_seconds: time of these steps together: more are taken where they are short.
    """

    def __init__(self, *, min_steps: int, min_seconds: float) -> None:
        self._min_steps, self._min_seconds = min_steps, min_seconds
        self.steps: list[Timing] = []
        self.validation_batches: list[Timing] = []
        # From the start of the process, or of an earlier probe in it, to the first step.
        self.start_seconds = 0.0
        # In 10^9 bytes: of the training steps, and with the validation.
        self.training_gigabytes = self.peak_gigabytes = 0.0
        self.checkpoint_bytes = 0
        self._ready_at = 0.0
        self._tokens = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start_seconds = process_cost()["system/start_seconds"]
        self._measure_seconds(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._tokens += len(batch.tokens.ids)
        if not is_step_complete(trainer):
            return
        self.steps.append(Timing(self._measure_seconds(pl_module), self._tokens))
        self._tokens = 0
        self.training_gigabytes = peak_memory_gigabytes(pl_module.device)
        timed = self.steps[1:]
        if len(timed) >= self._min_steps and sum(item.seconds for item in timed) >= (
            self._min_seconds
        ):
            trainer.should_stop = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measure_seconds(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        seconds = self._measure_seconds(pl_module)
        self.validation_batches.append(Timing(seconds, len(batch.tokens.ids)))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not is_fitting(trainer):
            return
        description = {"ranks": [collect_rank_state(trainer)]}
        state = collect_training_state(trainer, validation_due=False, description=description)
        counter = _ByteCounter()
        torch.save(state, counter)  # type: ignore[arg-type]
        self.checkpoint_bytes = counter.count
        self.peak_gigabytes = peak_memory_gigabytes(pl_module.device)

    def _measure_seconds(self, module: LightningModule) -> float:
        """The time since the last call, with what the device had still to do."""
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)
        before, self._ready_at = self._ready_at, time.perf_counter()
        return self._ready_at - before


class _ByteCounter:
    """A file that keeps nothing but the number of bytes."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, content: bytes) -> int:
        self.count += len(content)
        return len(content)

    def flush(self) -> None:
        """Do nothing."""
