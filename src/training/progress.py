"""Progress of a training on a terminal or in a log file."""

import math
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from src.core.formatting import format_duration, format_number
from src.core.printing import print_line

_REFRESH_SECONDS = 0.1
_GAUGE_CELLS = 10
# from which width on the line begins with a gauge
_WIDE_COLUMNS = 110


class Bar(ProgressBar):
    """One line of a terminal that is rewritten in place: where the run is, the time left of all its
    training, and as many whole figures as the terminal is wide for, the most important ones first.
    """

    def __init__(self) -> None:
        super().__init__()
        self._line: tqdm[Any] | None = None
        self._shown_at = 0.0
        self._started_at, self._first_step = 0.0, 0
        self._is_enabled = True

    def disable(self) -> None:
        self._is_enabled = False

    def enable(self) -> None:
        self._is_enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started_at, self._first_step = time.monotonic(), trainer.global_step
        self._show(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._show(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        total = trainer.num_val_batches[dataloader_idx]
        self._show(trainer, pl_module, f"validation {batch_idx + 1} of {total:g}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(trainer, pl_module, is_final=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(trainer, pl_module, is_final=True)
        self._close()

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
        is_final = batch_idx + 1 == total
        self._write(trainer, f"test {batch_idx + 1} of {total:g}", is_final=is_final)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._close()

    def _show(
        self,
        trainer: Trainer,
        module: LightningModule,
        stage: str | None = None,
        *,
        is_final: bool = False,
    ) -> None:
        if not self._is_due(trainer, is_final=is_final) or trainer.sanity_checking:
            return
        step, total = trainer.global_step, _total_steps(module)
        elapsed, done = time.monotonic() - self._started_at, step - self._first_step
        left = f"{format_duration(elapsed / done * (total - step))} left" if done else ""
        if step >= total:
            left = format_duration(elapsed)
        columns = shutil.get_terminal_size().columns
        filled = math.floor(_GAUGE_CELLS * min(1.0, step / max(1, total)))
        gauge = "█" * filled + "░" * (_GAUGE_CELLS - filled) if columns >= _WIDE_COLUMNS else ""
        head = [
            gauge,
            _describe_epoch(trainer, total),
            stage or f"{step:,}/{total:,}",
            left,
        ]
        text = "  ".join(filter(None, head))
        self._write(trainer, fit_figures(text, _order_figures(trainer), columns - 1), is_final=True)

    def _is_due(self, trainer: Trainer, *, is_final: bool) -> bool:
        is_shown = self._is_enabled and trainer.is_global_zero
        return is_shown and (is_final or time.monotonic() - self._shown_at >= _REFRESH_SECONDS)

    def _write(self, trainer: Trainer, text: str, *, is_final: bool) -> None:
        if not self._is_due(trainer, is_final=is_final):
            return
        self._shown_at = time.monotonic()
        if self._line is None:
            self._line = tqdm(bar_format="{desc}", file=sys.stderr, leave=True)
        self._line.set_description_str(text)

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


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
        print_line(fit_figures(f"{stage} {done}/{total:g}", _order_figures(trainer), math.inf))


def fit_figures(text: str, figures: Mapping[str, float], columns: float) -> str:
    """Append figures to a text, in their order, as long as whole ones fit into so many columns."""
    for name, value in figures.items():
        longer = f"{text}  {name} {format_number(value, 4)}"
        if len(longer) > columns:
            break
        text = longer
    return text


def _order_figures(trainer: Trainer) -> dict[str, float]:
    """What a run shows of its metrics, the most important ones first."""
    figures = {
        name: float(value)
        for name, value in trainer.progress_bar_metrics.items()
        if name != "v_num" and is_shown(name, value)
    }
    monitor = getattr(trainer.checkpoint_callback, "monitor", None)
    first = [name for name in ("train/loss", monitor, "tokens/s") if name in figures]
    return {name: figures[name] for name in (*first, *figures)}


def _describe_epoch(trainer: Trainer, total_steps: int) -> str:
    """Which epoch it is of how many; empty if there is only one, or no end of it."""
    batches = trainer.num_training_batches
    if not math.isfinite(batches) or not batches:
        return ""
    steps = math.ceil(batches / trainer.accumulate_grad_batches)
    total = math.ceil(total_steps / steps)
    return f"epoch {min(trainer.current_epoch + 1, total)} of {total}" if total > 1 else ""


def is_shown(name: str, value: Any) -> bool:
    """False for a metric of validation that has no value: the module has said so."""
    return not name.startswith("val/") or math.isfinite(float(value))


def _total_steps(module: LightningModule) -> int:
    return cast(Any, module).total_steps
