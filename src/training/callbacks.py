"""What watches a training: the best checkpoint, early stopping, the end of the run, the progress shown."""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.terms.bounds import Count, NonNegative, checked

if TYPE_CHECKING:
    from lightning.pytorch import Callback


@checked
@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Keeps the checkpoint that is best by a metric of validation, and writes the last state where a run is cut off.

    Args:
        monitor: as it is logged, `val/loss` for example.
        keep: how many of the best.
    """

    monitor: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    keep: Count = 1

    def build(self, folder: Path) -> "list[Callback]":
        from lightning.pytorch.callbacks import ModelCheckpoint

        return [
            ModelCheckpoint(
                dirpath=folder,
                filename="{step}",  # no metric: where a run is cut off before it has one, Lightning would write 0.0000
                monitor=self.monitor,
                mode=self.mode,
                save_top_k=self.keep,
                save_on_train_epoch_end=False,
                save_on_exception=True,
            )
        ]


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

    def build(self, folder: Path) -> "list[Callback]":
        from lightning.pytorch.callbacks import EarlyStopping as Stopping

        return [
            Stopping(
                monitor=self.monitor,
                mode=self.mode,
                patience=self.patience,
                min_delta=self.min_delta,
                check_finite=True,
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

    def build(self, folder: Path) -> "list[Callback]":
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
