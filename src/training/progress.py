"""Progress of a training on a terminal or in a log file."""

import math
import time
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar

from src.core.printing import print_line


class Bar(TQDMProgressBar):
    """Lightning's bar without the version of the logger, which has none here."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {name: value for name, value in metrics.items() if is_shown(name, value)}

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the bars, so that what is printed next begins on a line of its own."""
        # a bar is closed inside out, as it was opened
        for name in ("_test_progress_bar", "_val_progress_bar", "_train_progress_bar"):
            if (bar := getattr(self, name, None)) is not None:
                bar.close()


class Lines(ProgressBar):
    """Prints plain lines, or nothing. It is a progress bar so that Lightning adds none of its own.

    Args:
        line_seconds: time between two lines; None prints nothing.
    """

    def __init__(self, line_seconds: float | None) -> None:
        super().__init__()
        self._line_seconds = line_seconds
        self._printed_at = time.monotonic()

    def disable(self) -> None:
        pass

    def enable(self) -> None:
        pass

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._print_line("step", trainer.global_step, _total_steps(pl_module), trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step, total = trainer.global_step, _total_steps(pl_module)
        self._print_line("validated at step", step, total, trainer, force=True)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        total = trainer.num_test_batches[dataloader_idx]
        self._print_line("test batch", batch_idx + 1, total, trainer)

    def _print_line(
        self, stage: str, done: int, total: float, trainer: Trainer, *, force: bool = False
    ) -> None:
        if self._line_seconds is None or not trainer.is_global_zero:
            return
        now = time.monotonic()
        if now - self._printed_at < self._line_seconds and not force:
            return
        self._printed_at = now
        metrics = "  ".join(
            f"{name} {float(value):.4g}"
            for name, value in trainer.progress_bar_metrics.items()
            if name != "v_num" and is_shown(name, value)
        )
        print_line(f"{stage} {done}/{total:g}  {metrics}")


def is_shown(name: str, value: Any) -> bool:
    """False for a metric of validation that has no value: the module has said so."""
    return not name.startswith("val/") or math.isfinite(float(value))


def _total_steps(module: LightningModule) -> int:
    return cast(Any, module).total_steps
