"""The nodes of `callbacks` in a config: checkpoints, early stopping, metrics, progress.

Each is a light description whose `build` makes the Lightning callbacks for one Trainer.
"""

import math
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

from src.core.printing import print_line, print_wrapped
from src.core.user_errors import UserError
from src.core.validation import (
    Bound,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    validate_init,
)
from src.training.checkpoint_files import CheckpointHooks

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch import Tensor


@runtime_checkable
class CallbackConfig(Protocol):
    """A callback of Lightning, or a class whose build(folder, hooks) gives a list of them: what
    stands below `callbacks` in a config.
    """

    def build(self, folder: Path, hooks: CheckpointHooks | None = None) -> "list[Callback]":
        """Fresh callbacks for a Trainer.

        Args:
            folder: of the run's checkpoints.
            hooks: how a checkpoint is tied to the run's record.
        """


@validate_init
@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Keeps checkpoints from which a training goes on exactly: the best by a metric, and the last.

    A checkpoint is written after a validation that is among the best, and where `every_steps` or
    `every_minutes` say so. At the end of training, and where a run is told to end, one of the last
    is written in any case. A state that is both best and last is one file.

    Training waits meanwhile: 1.3 GB (110 million parameters with AdamW's moments) took 1 to 4 s of
    processor time and, synced to a busy shared disk, 2 to 13 s in all.

    Args:
        monitor: a metric as it is logged, such as `val/loss`.
        mode: `min` if a small value is good, else `max`.
        keep: how many of the best; null: none.
        keep_last: how many of the last; null: none, and a run that is cut off goes on from its
            best.
        every_steps: optimizer steps between two of the last; null: by time alone.
        every_minutes: wall time between two of the last; null: by steps alone.
    """

    monitor: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    keep: PositiveInt | None = 1
    keep_last: PositiveInt | None = 1
    every_steps: PositiveInt | None = None
    every_minutes: PositiveFloat | None = 10

    def build(self, folder: Path, hooks: CheckpointHooks | None = None) -> "list[Callback]":
        """Make a `CheckpointCallback`, also where nothing is kept: it begins from a checkpoint too.

        Args:
            folder: of the run's checkpoints.
            hooks: to the run's record.
        """
        from src.training.checkpoint_callback import CheckpointCallback

        return [CheckpointCallback(folder, **vars(self), hooks=hooks or CheckpointHooks())]


@validate_init
@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """Stops when a metric of validation has not improved for `patience` validations.

    Args:
        monitor: a metric as it is logged.
        mode: `min` if a small value is good, else `max`.
        patience: validations.
        min_delta: the least change that counts as an improvement, in the metric's own unit.
    """

    monitor: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    patience: PositiveInt = 3
    min_delta: NonNegativeFloat = 0.0

    def build(self, folder: Path, hooks: CheckpointHooks | None = None) -> "list[Callback]":
        from lightning.pytorch import callbacks

        class EarlyStoppingOfConfig(callbacks.EarlyStopping):
            @property
            def state_key(self) -> str:
                # Checkpoints of all versions have it under this key.
                metric = {"monitor": self.monitor, "mode": self.mode}
                return f"EarlyStopping.build.<locals>.Stopping{metric}"

            def _evaluate_stopping_criteria(self, current: "Tensor") -> tuple[bool, str | None]:
                # an undefined metric is neither an improvement nor a reason to stop
                if current.isnan():
                    return False, None
                return super()._evaluate_stopping_criteria(current)

            def on_train_end(self, trainer: Any, pl_module: Any) -> None:
                """Say why the training has ended before its budget, and tag the run."""
                if self.wait_count < self.patience or not trainer.is_global_zero:
                    return
                best = float(self.best_score)
                reason = (
                    f"{self.monitor} has not been better than {best:.4g} in "
                    f"{self.patience} validations; stopped at step {trainer.global_step} of "
                    f"{pl_module.total_steps}"
                )
                print_line(f"early stopping: {reason}")
                if hooks is not None and hooks.tag is not None:
                    hooks.tag("stopped_early", reason)

            def load_state_dict(self, state_dict: dict[str, Any]) -> None:
                """Restore all but the patience, which the config of a fork may change."""
                super().load_state_dict({**state_dict, "patience": self.patience})

        return [
            EarlyStoppingOfConfig(
                monitor=self.monitor,
                mode=self.mode,
                patience=self.patience,
                min_delta=self.min_delta,
                # a loss that is not finite is seen to by src/training/non_finite_recovery.py
                check_finite=False,
                # After each validation instead, before a checkpoint is written there.
                check_on_train_epoch_end=False,
            )
        ]


@validate_init
@dataclass(frozen=True, kw_only=True)
class Milestone:
    """Stops a training that has not reached a mark by a step, so that a long one that will come to
    nothing does not take its whole time. The run is judged as if it had come to its end.

    Args:
        monitor: a metric as it is logged.
        mode: `min` if a small value is good, else `max`.
        step: optimizer steps; the first validation at or after it is the one that decides.
        mark: the value that some validation must have reached by then.
    """

    monitor: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    step: PositiveInt
    mark: float

    def build(self, folder: Path, hooks: CheckpointHooks | None = None) -> "list[Callback]":
        """One callback.

        Args:
            folder: of checkpoints, not used.
            hooks: to the run's record, whose tag `stopped_early` has the reason.
        """
        from lightning.pytorch import Callback

        config, is_better = self, (float.__gt__ if self.mode == "max" else float.__lt__)

        class MilestoneOfConfig(Callback):
            best = math.nan
            is_passed = False

            @property
            def state_key(self) -> str:
                return f"Milestone({config.monitor}, {config.step})"

            def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
                found = trainer.callback_metrics.get(config.monitor)
                if trainer.sanity_checking or self.is_passed or found is None:
                    return
                value = float(found)
                if math.isnan(self.best) or is_better(value, self.best):
                    self.best = value
                if trainer.global_step < config.step:
                    return
                self.is_passed = True
                is_reached = self.best == config.mark or is_better(self.best, float(config.mark))
                if trainer.strategy.reduce_boolean_decision(not is_reached, all=False):
                    trainer.should_stop = True
                    self._tell(trainer, pl_module)

            def _tell(self, trainer: Any, pl_module: Any) -> None:
                if not trainer.is_global_zero:
                    return
                reason = (
                    f"{config.monitor} has been {self.best:.4g} at best and not {config.mark:.4g} "
                    f"by step {config.step}; stopped at step {trainer.global_step} of "
                    f"{pl_module.total_steps}"
                )
                print_line(f"milestone missed: {reason}")
                if hooks is not None and hooks.tag is not None:
                    hooks.tag("stopped_early", reason)

            def state_dict(self) -> dict[str, Any]:
                return {"best": self.best, "is_passed": self.is_passed}

            def load_state_dict(self, state_dict: dict[str, Any]) -> None:
                self.best, self.is_passed = state_dict["best"], state_dict["is_passed"]

        return [MilestoneOfConfig()]


@validate_init
@dataclass(frozen=True, kw_only=True)
class WeightAveraging:
    """Averages the weights over optimizer steps. Validations see the averages, and they are what is
    tested and exported; training goes on with its own weights.

    Args:
        method: `ema`, where a state counts less the older it is (Polyak and Juditsky, 1992), or
            `swa`, where all count alike (Izmailov et al., 2018), which wants a rate that does not
            fall to 0 (model.optim.schedule=constant).
        decay: of `ema`, the share of the old average in the new one; averages reach back about
            1 / (1 - `decay`) steps, which should be few beside those of the run.
        start_fraction: share of all optimizer steps before the first one that is averaged.
    """

    method: Literal["ema", "swa"] = "ema"
    decay: Annotated[float, Bound(least=0, below=1)] = 0.999
    start_fraction: Fraction = 0.0

    def build(self, folder: Path, hooks: CheckpointHooks | None = None) -> "list[Callback]":
        from src.training.weight_averaging import WeightAverageCallback

        return [WeightAverageCallback(**vars(self), hooks=hooks or CheckpointHooks())]


@validate_init
@dataclass(frozen=True, kw_only=True)
class GradualUnfreezing:
    """Trains the head alone at first, and then one more layer of the body after every so many
    optimizer steps, from the top down to the embeddings (Howard and Ruder, 2018). Early gradients
    of a fresh head then disturb less of what was learnt before.

    A layer joins at the rate that the schedule has reached by then, so it should not fall to 0
    before the last one has. On one device alone.

    Args:
        every_steps: optimizer steps until the next layer joins.
    """

    every_steps: PositiveInt

    def check_world_size(self, world_size: int) -> None:
        """Raise UserError where a run has several devices."""
        if world_size > 1:
            raise UserError(
                "several devices agree on the trained weights before the first step",
                key="callbacks.gradual_unfreezing",
                hint="trainer.devices=1 or {key}=null fits",
            )

    def build(self, folder: Path, hooks: CheckpointHooks | None = None) -> "list[Callback]":
        from src.training.gradual_unfreezing import GradualUnfreezingCallback

        return [GradualUnfreezingCallback(every_steps=self.every_steps)]


@validate_init
@dataclass(frozen=True, kw_only=True)
class TrainingMetrics:
    """Logs loss, learning rate, speed and use of the device (src/training/training_metrics.py)."""

    def build(self, folder: Path, hooks: CheckpointHooks | None = None) -> "list[Callback]":
        from src.training.training_metrics import Meter

        return [Meter()]


@validate_init
@dataclass(frozen=True, kw_only=True)
class LibraryCallback:
    """Stands for a callback class in a config, since every Trainer of a run gets a fresh one.

    Args:
        cls: a class of Lightning, or one that inherits from its `Callback`.
        arguments: of its constructor.
    """

    # arguments of the class that a config does not give
    provides: ClassVar[tuple[str, ...]] = ()

    cls: Callable[..., Any]
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        # raises what the class has to say against its arguments
        self.cls(**self.arguments)

    def build(self, folder: Path, hooks: CheckpointHooks | None = None) -> "list[Callback]":
        return [self.cls(**self.arguments)]


@validate_init
@dataclass(frozen=True, kw_only=True)
class Progress:
    """Shows how far the training is.

    Args:
        style: `bar`; `lines`, for log files; `auto`: a bar on a terminal, else lines; `off`.
        line_seconds: time between two lines.
    """

    style: Literal["auto", "bar", "lines", "off"] = "auto"
    line_seconds: NonNegativeFloat = 15.0

    def build(self, folder: Path, hooks: CheckpointHooks | None = None) -> "list[Callback]":
        from src.training.progress import Bar, Lines

        style = ("bar" if sys.stderr.isatty() else "lines") if self.style == "auto" else self.style
        return [Bar() if style == "bar" else Lines(self.line_seconds if style == "lines" else None)]


def keep_freed_memory() -> "Callback":
    """Make a callback that keeps freed memory between training steps on a CPU.

    It does so where batches have few different shapes: in the fast path of an encoder
    (src/model/fast_encoder.py) and with packed rows.
    """
    from lightning.pytorch import Callback, LightningModule, Trainer

    from src.training.cpu_allocators import retain_freed_memory

    class FreedMemoryCallback(Callback):
        def __init__(self) -> None:
            self._exit_stack = ExitStack()

        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            module: Any = pl_module
            few_shapes = module.encoder.uses_fast_path or module.objective.run_kind == "pretrain"
            on_cpu = module.device.type == "cpu"
            self._exit_stack.enter_context(retain_freed_memory(few_shapes and on_cpu))

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self._exit_stack.close()

        def on_exception(
            self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
        ) -> None:
            self._exit_stack.close()

    return FreedMemoryCallback()


def announce_loading(set_tag: Callable[[str, str], None]) -> "Callback":
    """Make a callback that prints and tags, once, how the weights were loaded.

    It may be given to several Trainers: a run that goes back to a checkpoint has more than one.
    """
    from lightning.pytorch import Callback, LightningModule, Trainer

    class LoadingCallback(Callback):
        def __init__(self) -> None:
            self._is_done = False

        def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            module: Any = pl_module
            if self._is_done or not trainer.is_global_zero:
                return
            self._is_done = True
            notices = module.describe_loading()
            for line in notices.lines:
                print_wrapped(line)
            for name, value in notices.tags.items():
                set_tag(name, value)

    return LoadingCallback()
