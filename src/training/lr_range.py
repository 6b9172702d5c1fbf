"""A learning-rate range test: the rate rises exponentially over a short training, and the curve of
the loss shows where learning is fastest and where it breaks (Smith, 2017, section 3.3).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from src.core.failures import NonFiniteLoss
from src.training.lightning_internals import is_step_complete

# share of the old average in the smoothed loss; the test ends where that is this many times its
# lowest value (both as in fastai's lr_find)
SMOOTHING = 0.9
DIVERGENCE_FACTOR = 4.0
# steps at the beginning, where the average has too few values, that are not looked at
_SKIPPED_STEPS = 10
# share of the steps over which the slope is taken to either side: between neighbours it is noise
_SLOPE_FRACTION = 0.03


@dataclass
class LrRangeCurve:
    """What a range test has measured, one value for each optimizer step.

    Attributes:
        rates: highest learning rate of the step, as `model.optim.lr` would be.
        losses: mean over the targets of the step.
        smoothed: exponential averages of the losses, corrected for their beginning.
        has_diverged: True if the test ended because the loss rose or was no number.
    """

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)
    has_diverged: bool = False

    def add(self, rate: float, loss: float) -> None:
        self.rates.append(rate)
        self.losses.append(loss)
        self.smoothed = smooth_losses(self.losses)
        later = self.smoothed[_SKIPPED_STEPS:]
        if not math.isfinite(loss) or (later and later[-1] > DIVERGENCE_FACTOR * min(later)):
            self.has_diverged = True

    def suggest_rate(self) -> float | None:
        """The rate, below that of the lowest smoothed loss, at which it falls most steeply over the
        logarithm of the rate; None where it never falls, or where there are too few steps.
        """
        values = [value for value in self.smoothed if math.isfinite(value)]
        reach = max(1, round(_SLOPE_FRACTION * len(values)))
        # rates are equally far apart on the logarithmic axis
        slopes = {
            step: values[step + reach] - values[step - reach]
            for step in range(max(_SKIPPED_STEPS, reach), len(values) - reach)
            if step <= values.index(min(values))
        }
        steepest = min(slopes, key=lambda step: slopes[step], default=0)
        return self.rates[steepest] if slopes.get(steepest, 0) < 0 else None


def smooth_losses(losses: Sequence[float]) -> list[float]:
    """Exponential averages, each divided by the sum of its weights."""
    smoothed, average = [], 0.0
    for step, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed.append(average / (1 - SMOOTHING**step))
    return smoothed


class LrRangeCallback(Callback):
    """Raises the learning rate from one step to the next, and ends the training where the loss has
    diverged. Nothing is validated.

    Args:
        lowest, highest: rates of the first step and of the last one, of `model.optim.lr`; other
            rates (`layer_decay`, `head_lr`, adapters) keep their ratio to it.
        steps: optimizer steps.
        optim_lr: the rate that the config has.
        curve: to be filled.
    """

    def __init__(
        self, *, lowest: float, highest: float, steps: int, optim_lr: float, curve: LrRangeCurve
    ) -> None:
        self._lowest, self._highest, self._steps = lowest, highest, steps
        self._optim_lr = optim_lr
        self._curve = curve
        self._step_losses: list[tuple[float, int]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        trainer.limit_val_batches = 0

    def _rate_at(self, step: int) -> float:
        share = step / max(1, self._steps - 1)
        return float(self._lowest * (self._highest / self._lowest) ** share)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        factor = self._rate_at(trainer.global_step) / self._optim_lr
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if outputs and outputs["count"]:
            self._step_losses.append((float(outputs["mean_loss"]), outputs["count"]))
        if not is_step_complete(trainer):
            return
        total = sum(count for _, count in self._step_losses)
        if total:
            loss = sum(mean * count for mean, count in self._step_losses) / total
            self._curve.add(self._rate_at(trainer.global_step - 1), loss)
        self._step_losses = []
        if self._curve.has_diverged:
            trainer.should_stop = True

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._curve.has_diverged |= isinstance(exception, NonFiniteLoss)
