"""Writes the checkpoints of a training, and puts a training back where a checkpoint was written.

When a checkpoint is written is decided by `StepControl`, always between two optimizer steps. From
there a training goes on as if it had never stopped, bit for bit on the same machine with the same
libraries.
"""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn

from src.core.printing import print_line
from src.core.user_errors import UserError
from src.training.checkpoint_files import (
    CheckpointHooks,
    checkpoint_name,
    delete_partial_files,
    get_description,
    list_checkpoints,
    write_checkpoint,
)
from src.training.checkpoint_retention import CheckpointRetention
from src.training.distributed import gather_from_ranks
from src.training.lightning_internals import (
    add_callback_metrics,
    is_fitting,
    multiply_batch_counters,
)
from src.training.training_state import (
    collect_rank_state,
    collect_training_state,
    count_batch_parts,
    reset_learning_rates,
    restore_rank_rng,
)

if TYPE_CHECKING:
    from src.model.module import EncoderModule


class CheckpointCallback(Checkpoint):
    """Writes the checkpoints that `src.training.callbacks.Checkpoint` describes.

    A disk that refuses a checkpoint does not end the training: the earlier ones stay, the failure
    is printed once and tagged at the run, and the next occasion is tried. With several ranks all
    take part, and the first one writes.

    Args:
        folder: of this run alone; checkpoints in it that are neither among the best nor among the
            last are deleted.
        monitor, mode, keep, keep_last, every_steps, every_minutes: as of
            `src.training.callbacks.Checkpoint`.
        hooks: to the record of the run.
    """

    def __init__(
        self,
        folder: Path,
        *,
        monitor: str,
        mode: Literal["min", "max"],
        keep: int | None,
        keep_last: int | None,
        every_steps: int | None,
        every_minutes: float | None,
        hooks: CheckpointHooks,
    ) -> None:
        # True: begin from another run's checkpoint, with this run's rates and schedule.
        self.is_fork = False
        # Why the last state is on no disk.
        self.unsaved_reason: str | None = None
        self._folder = folder
        self.monitor = monitor
        self._retention = CheckpointRetention(
            folder=folder,
            sign=1 if mode == "min" else -1,
            max_best=keep or 0,
            max_last=keep_last or 0,
        )
        self._every_steps = every_steps
        self._every_seconds = every_minutes * 60 if every_minutes is not None else math.inf
        self._hooks = hooks
        # Of the last validation.
        self._validation_metrics: dict[str, float] = {}
        # Of the checkpoint that this training began from.
        self._loaded_description: dict[str, Any] | None = None
        # The settings of each parameter group, as configured.
        self._configured_groups: list[dict[str, Any]] = []
        # The step, and if a validation was due there.
        self._last_saved = (0, False)
        # The step and the score of the last checkpoint that could not be written.
        self._failed_save: tuple[int, float | None] | None = None
        # Of all ranks, while the first one may have to write alone.
        self._rank_states: list[dict[str, Any]] | None = None
        self._written_at = time.monotonic()

    @property
    def best_model_path(self) -> str:
        """The checkpoint that is best by the monitored metric, or "" where there is none."""
        return str(self._folder / next(iter(self._retention.best))) if self._retention.best else ""

    @property
    def is_best_by_score(self) -> bool:
        """False where no checkpoint was kept under a score that is a number."""
        return any(not math.isnan(score) for score in self._retention.best.values())

    @property
    def last_model_path(self) -> str:
        """The newest checkpoint, or "" where there is none."""
        checkpoints = list_checkpoints(self._folder)
        return str(checkpoints[0]) if checkpoints else ""

    # -- beginning from a checkpoint

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.is_global_zero:
            delete_partial_files(self._folder)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        written = get_description(checkpoint)
        parts = count_batch_parts(trainer)
        accumulated = trainer.accumulate_grad_batches // parts
        if written["accumulate"] != accumulated:
            raise UserError(
                f"trainer.accumulate_grad_batches={accumulated}, but the "
                f"checkpoint's steps were made of {written['accumulate']} batches"
            )
        multiply_batch_counters(checkpoint["loops"], parts)
        self._loaded_description = written
        self._last_saved = written["step"], written["due"]
        self._validation_metrics = dict(written["metrics"])
        rank, states = trainer.global_rank, written["ranks"]
        own = states[rank]["callbacks"] if rank < len(states) and states[rank] is not None else {}
        # A rank that the checkpoint does not know begins with nothing, not with what the first had.
        for key in states[0]["callbacks"]:
            checkpoint["callbacks"].pop(key, None)
        checkpoint["callbacks"].update(own)
        for remark in self._retention.restore_kept(written, is_fork=self.is_fork):
            self._warn_and_tag(remark)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self._configured_groups = [
            {key: value for key, value in group.items() if key != "params"} for group in groups
        ]
        if self._loaded_description is not None:
            # A process that was killed may have left this undone.
            self._apply_retention(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._written_at = time.monotonic()
        written = self._loaded_description
        if written is None:
            return
        batches = int(trainer.num_training_batches) // count_batch_parts(trainer)
        if written["batches"] != batches:
            raise UserError(
                f"an epoch has {batches} batches, but had "
                f"{written['batches']} when the checkpoint was written (trainer.limit_batches)"
            )
        self._broadcast_retention(trainer)
        if remark := restore_rank_rng(trainer, written["ranks"], written["step"]):
            self._hooks.tag("random_state", remark)
        if self.is_fork:
            reset_learning_rates(trainer, self._configured_groups)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._broadcast_retention(trainer)
        # If training was over already, no validation has set them.
        add_callback_metrics(trainer, self._validation_metrics)

    # -- what StepControl asks

    @property
    def keeps_last(self) -> bool:
        """True where checkpoints are kept whatever their score."""
        return self._retention.max_last > 0

    def is_save_step(self, trainer: Trainer) -> bool:
        """True at each `every_steps`-th step."""
        return self._every_steps is not None and trainer.global_step % self._every_steps == 0

    def is_save_time(self) -> bool:
        """True once `every_minutes` have passed since the last checkpoint."""
        return time.monotonic() - self._written_at >= self._every_seconds

    def may_save_after_failure(self, trainer: Trainer) -> bool:
        """True where an exception has ended the training and this rank may write a last state."""
        return (
            trainer.state.fn == TrainerFn.FITTING
            and trainer.is_global_zero
            and self.keeps_last
            and trainer.global_step != self._last_saved[0]
        )

    def note_interrupted_step(self, trainer: Trainer) -> None:
        """Record that the last state cannot be written, since a step was under way."""
        kept = Path(self.last_model_path).name
        self.unsaved_reason = (
            f"optimizer step {trainer.global_step + 1} was cut off in its midst: "
            f"{f'the last checkpoint is {kept}' if kept else 'there is no checkpoint yet'}"
        )

    # -- writing

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_fitting(trainer) and trainer.world_size > 1:
            self._rank_states = gather_from_ranks(collect_rank_state(trainer))

    def save_after_validation(self, trainer: Trainer, *, as_last: bool) -> None:
        """Write a checkpoint if it is among the best, or one of the last is to be written.

        Args:
            as_last: write one of the last, whatever the interval of steps says.

        Raises:
            UserError: validation did not measure the monitored metric.
        """
        self._validation_metrics = {
            key: float(value)
            for key, value in trainer.callback_metrics.items()
            if key.startswith("val/")
        }
        is_best, score = False, math.nan
        if self._retention.max_best:
            if self.monitor not in trainer.callback_metrics:
                raise UserError(
                    f"callbacks.checkpoint.monitor={self.monitor} is not among what validation "
                    f"has measured: {', '.join(sorted(self._validation_metrics))}"
                )
            score = float(trainer.callback_metrics[self.monitor])
            name = checkpoint_name(trainer.global_step)
            is_best = name in self._retention.rank_with_candidate(name, score)
        is_last = self.keeps_last and (as_last or self.is_save_step(trainer))
        if trainer.world_size > 1:
            # Clocks and lists of the ranks may differ.
            is_best, is_last = trainer.strategy.broadcast((is_best, is_last))
        if is_best or is_last:
            self.save(trainer, score=score if is_best else None)
        self._rank_states = None

    def save_alone(self, trainer: Trainer, *, validation_due: bool) -> None:
        """Write a checkpoint without the other ranks, which cannot be asked now.

        Weights that are divided among ranks (FSDP) are then out of reach, and nothing is written.
        """
        if not self.keeps_last:
            return
        if trainer.world_size > 1 and isinstance(trainer.strategy, ModelParallelStrategy):
            self.unsaved_reason = (
                "the weights are divided among devices, and not all could be asked for theirs"
            )
            return
        self.save(trainer, validation_due=validation_due, with_ranks=False)

    def save(
        self,
        trainer: Trainer,
        *,
        score: float | None = None,
        validation_due: bool = False,
        with_ranks: bool = True,
    ) -> None:
        """Write the checkpoint of this step unless it is there, and delete those not to be kept.

        Args:
            score: of the monitored metric, if the checkpoint is among the best.
            validation_due: a validation comes before the next step.
            with_ranks: all ranks take part.

        Raises:
            NonFiniteLoss: the weights may not be good.
        """
        step = trainer.global_step
        if (
            self._last_saved == (step, validation_due)
            and score is None
            and self._failed_save is None
        ):
            return
        cast("EncoderModule", trainer.lightning_module).check_finite()
        before = self._retention.best, self._retention.last
        self._retention.add_checkpoint(checkpoint_name(step), score)
        state = self._build_checkpoint(trainer, validation_due, with_ranks)
        failure = None
        if trainer.is_global_zero:
            try:
                write_checkpoint(
                    state, self._folder / checkpoint_name(step), persist=self._hooks.persist
                )
            except OSError as error:
                failure = str(error)
        if trainer.world_size > 1 and with_ranks:
            failure = trainer.strategy.broadcast(failure)
        self._written_at = time.monotonic()
        if failure is not None:
            self._retention.best, self._retention.last = before
            is_first, self._failed_save = self._failed_save is None, (step, score)
            kept = Path(self.last_model_path).name
            self.unsaved_reason = (
                f"the checkpoint of optimizer step {step} could not be written: {failure}"
                f"{f' (the last one is {kept})' if kept else ''}"
            )
            if trainer.is_global_zero:
                self._warn_and_tag(self.unsaved_reason, is_printed=is_first)
            return
        self._last_saved, self._failed_save = (step, validation_due), None
        self.unsaved_reason = None
        self._apply_retention(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._failed_save is not None and self._failed_save[0] == trainer.global_step:
            # There may be room again.
            self.save(trainer, score=self._failed_save[1])
        if self._failed_save is not None and not list_checkpoints(self._folder):
            raise OSError(f"{self.unsaved_reason}; there is no checkpoint at all")

    def _build_checkpoint(
        self, trainer: Trainer, validation_due: bool, with_ranks: bool
    ) -> dict[str, Any]:
        own = collect_rank_state(trainer)
        if self._rank_states is not None:
            ranks: list[Any] = self._rank_states
        elif with_ranks:
            ranks = gather_from_ranks(own)
        else:
            ranks = [own, *[None] * (trainer.world_size - 1)]
        description = {
            **self._hooks.description,
            "metrics": self._validation_metrics,
            "best": self._retention.best,
            "last": self._retention.last,
            "ranks": ranks,
        }
        return collect_training_state(
            trainer, validation_due=validation_due, description=description
        )

    def _apply_retention(self, trainer: Trainer) -> None:
        """Delete the checkpoints that are not to be kept, and mirror the others in the record."""
        if trainer.is_global_zero:
            self._retention.delete_unkept()
            self._hooks.mirror(self._folder, "checkpoints")

    def _broadcast_retention(self, trainer: Trainer) -> None:
        """Let all ranks know which checkpoints the first one keeps."""
        if trainer.world_size > 1:
            self._retention.best, self._retention.last = trainer.strategy.broadcast(
                (self._retention.best, self._retention.last)
            )

    def _warn_and_tag(self, message: str, *, is_printed: bool = True) -> None:
        if is_printed:
            print_line(f"warning: {message}", to_stderr=True)
        self._hooks.tag("checkpoint_error", message)


def find_checkpoint_callback(trainer: Trainer) -> CheckpointCallback | None:
    """The callback of a Trainer that writes our checkpoints; None where there is none."""
    callbacks = trainer.checkpoint_callbacks
    return next((item for item in callbacks if isinstance(item, CheckpointCallback)), None)
