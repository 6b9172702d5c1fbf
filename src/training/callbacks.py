"""What watches a training: checkpoints, early stopping, the end of the run, the progress shown."""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.terms.bounds import Count, NonNegative, Positive, checked
from src.training.checkpoints import Ties

if TYPE_CHECKING:
    from lightning.pytorch import Callback


@checked
@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Keeps checkpoints, each whole and enough to go on from exactly: the best by a metric, and the last.

    One is written after a validation that is among the best, and where `every_steps` or `every_minutes` say so; at the
    end of training and where a run is told to end it is written in any case, as one of the last. A state that is both
    best and last is one file. Training waits while it is written: 1.3 GB (110 million parameters with AdamW's moments)
    took 1 to 4 s of a processor and, synced, 2 to 13 s in all on a busy shared disk, here every ten minutes at most.

    Args:
        monitor: as it is logged, `val/loss` for example.
        keep: how many of the best; null: none for their metric.
        keep_last: how many of the last; null: none, and a run that is cut off goes on from its best.
        every_steps: optimizer steps between two of the last; null: as time passes alone.
        every_minutes: wall time between two of the last; null: by steps alone.
    """

    monitor: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    keep: Count | None = 1
    keep_last: Count | None = 1
    every_steps: Count | None = None
    every_minutes: Positive | None = 10

    def build(self, folder: Path, ties: Ties | None = None) -> "list[Callback]":
        """A `Keeper`, also where nothing is to be kept: it is what begins from a checkpoint.

        Args:
            folder: of the run's checkpoints.
            ties: to the run's record.
        """
        from src.training.keeper import Keeper

        return [Keeper(folder, **vars(self), ties=ties or Ties())]


@checked
@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """Stops when a metric of validation has not become better for `patience` validations.

    Args:
        min_delta: what counts as better, in the metric's own unit.
    """

    monitor: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    patience: Count = 3
    min_delta: NonNegative = 0.0

    def build(self, folder: Path, ties: Ties | None = None) -> "list[Callback]":
        from lightning.pytorch.callbacks import EarlyStopping as Theirs

        class Stopping(Theirs):
            def load_state_dict(self, state_dict: dict[str, Any]) -> None:
                """All but the patience, which is the config's: a fork may have another."""
                super().load_state_dict({**state_dict, "patience": self.patience})

        return [
            Stopping(
                monitor=self.monitor,
                mode=self.mode,
                patience=self.patience,
                min_delta=self.min_delta,
                check_finite=True,
                check_on_train_epoch_end=False,  # but after each validation, before a checkpoint is written there
            )
        ]


@checked
@dataclass(frozen=True, kw_only=True)
class Progress:
    """Shows where the training is.

    Args:
        style: `bar` on a terminal, `lines` every `line_seconds` elsewhere (a log file is no place for a bar); `auto`
            chooses between these two; `off` shows nothing.
    """

    style: Literal["auto", "bar", "lines", "off"] = "auto"
    line_seconds: NonNegative = 15.0

    def build(self, folder: Path, ties: Ties | None = None) -> "list[Callback]":
        style = ("bar" if sys.stderr.isatty() else "lines") if self.style == "auto" else self.style
        if style == "bar":
            return [_bar()]
        return [_quiet(self.line_seconds if style == "lines" else None)]


def _bar() -> "Callback":
    """Lightning's bar without the logger's version, which says nothing here."""
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import TQDMProgressBar

    class Bar(TQDMProgressBar):
        def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
            shown = super().get_metrics(trainer, pl_module)
            shown.pop("v_num", None)
            return shown

    return Bar()


def _quiet(line_seconds: float | None) -> "Callback":
    """A progress bar that prints plain lines, or nothing. Lightning wants one bar, so that it adds none of its own."""
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ProgressBar

    class Lines(ProgressBar):
        def __init__(self) -> None:
            super().__init__()
            self._printed_at = time.monotonic()

        def disable(self) -> None:
            pass

        def enable(self) -> None:
            pass

        def _line(self, stage: str, done: int, total: float, trainer: Trainer, *, force: bool = False) -> None:
            now = time.monotonic()
            if (
                line_seconds is None
                or not trainer.is_global_zero
                or (now - self._printed_at < line_seconds and not force)
            ):
                return
            self._printed_at = now
            shown = {
                name: f"{float(value):.4g}" for name, value in trainer.progress_bar_metrics.items() if name != "v_num"
            }
            print(
                f"{stage} {done}/{total:g}  " + "  ".join(f"{name} {value}" for name, value in shown.items()),
                flush=True,
            )

        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            self._line("step", trainer.global_step, getattr(pl_module, "total_steps", -1), trainer)

        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self._line(
                "validated at step", trainer.global_step, getattr(pl_module, "total_steps", -1), trainer, force=True
            )

        def on_test_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
            dataloader_idx: int = 0,
        ) -> None:  # fmt: skip
            self._line("test batch", batch_idx + 1, trainer.num_test_batches[dataloader_idx], trainer)

    return Lines()


def ending(total_steps: int) -> "Callback":
    """Asks for one validation after the last step, wherever in an epoch that falls."""
    from lightning.pytorch import Callback, LightningModule, Trainer

    class Ending(Callback):
        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            if trainer.global_step >= total_steps:
                trainer.should_stop = True

    return Ending()


def validating(every_steps: int) -> "Callback":
    """Has validations come every so many optimizer steps; Lightning counts batches.

    The two differ where the last step of an epoch adds up fewer batches than the others, and a validation in the
    middle of a step would be no place for a checkpoint.
    """
    from lightning.pytorch import Callback, LightningModule, Trainer

    class Validating(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self._decide(trainer)

        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            self._decide(trainer)

        @staticmethod
        def _decide(trainer: Trainer) -> None:
            border = not trainer.fit_loop.epoch_loop._should_accumulate()
            now = border and trainer.global_step % every_steps == 0
            trainer.val_check_batch = 1 if now else sys.maxsize  # of batches: after this one, or after none

    return Validating()


def steady() -> "Callback":
    """Keeps freed memory between training steps on a CPU, where the shapes of batches are few.

    They are where the lean body makes them so (src/model/lean.py), and with packed rows.
    """
    from lightning.pytorch import Callback, LightningModule, Trainer

    from src.training.memory import kept_between_steps

    class Steady(Callback):
        def __init__(self) -> None:
            self._kept = ExitStack()

        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            few = pl_module.encoder.lean or pl_module.objective.purpose == "pretrain"  # type: ignore[union-attr]
            self._kept.enter_context(kept_between_steps(few and pl_module.device.type == "cpu"))

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self._kept.close()

        def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
            self._kept.close()

    return Steady()
