"""Decides what happens between two optimizer steps: validate, save a checkpoint, stop.

Only there is the state of a training whole. Weights, optimizer, schedule, loops, random states and
the place in the data then belong to one moment, and nothing of a step is half done. Whatever is
asked for during a step waits for its end. `CheckpointCallback` writes the checkpoints.
"""

import math
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from src.core.failures import NonFiniteLoss
from src.training.checkpoint_callback import CheckpointCallback, find_checkpoint_callback
from src.training.checkpoint_files import get_description
from src.training.lightning_internals import (
    correct_logged_step,
    is_fitting,
    is_step_complete,
    is_validation_next,
)

if TYPE_CHECKING:
    from src.model.module import EncoderModule


class SignalState(Protocol):
    """The part of a run's signal handler (src/core/run_ending.py) that is needed here."""

    received_signal: int | None
    may_finish_step: bool

    def restore_sigterm_handler(self) -> None: ...


class StepAction(IntEnum):
    """What the first rank asks of all ranks at the end of a step."""

    CONTINUE = 0
    SAVE = 1
    SAVE_AND_STOP = 2


class StepControl(Callback):
    """The last callback before those that write checkpoints; it sees what the others decided.

    A signal ends the training at the end of the step under way, with a checkpoint, or after the
    batch under way of a validation. Lightning's own handler of SIGTERM would leave in the middle of
    an accumulation too, and ask the other ranks from within a signal handler; it is replaced.

    With several ranks the first one decides. The others receive its request with the gradients of
    the next step; on GPUs they read it every `trainer.log_every_n_steps`, where they wait for the
    device anyway.

    Args:
        total_steps: optimizer steps of the whole run; a validation follows the last one, wherever
            in an epoch it falls. None: the Trainer's own limits hold.
        val_check_steps: optimizer steps between validations; None: at the end of each epoch.
            Lightning counts batches, which is not the same where the last step of an epoch has
            fewer of them.
        signals: of the run; None: no signal is looked at.
    """

    def __init__(
        self,
        *,
        total_steps: int | None = None,
        val_check_steps: int | None = None,
        signals: SignalState | None = None,
    ) -> None:
        self._total_steps = math.inf if total_steps is None else total_steps
        self._val_check_steps = val_check_steps
        self._signals = signals
        self._checkpoints: CheckpointCallback | None = None
        self._stop_error: BaseException | None = None
        self._is_at_boundary = False
        # The optimizer step of the last validation.
        self._validated_step: int | None = None
        self._is_resumed = False
        # The checkpoint that training goes on from was written before its validation.
        self._resumes_before_validation = False
        # The Trainer's own limits, while they are changed for that validation.
        self._original_val_check_batch: Any = None
        self._original_max_steps: int | None = None

    def request_stop(self, error: BaseException) -> None:
        """Write a checkpoint at the end of the step under way, and raise `error` there.

        Only the first rank may be asked.
        """
        self._stop_error = error

    # -- beginning

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._checkpoints = find_checkpoint_callback(trainer)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._checkpoints is None:
            return
        written = get_description(checkpoint)
        self._is_resumed, self._resumes_before_validation = True, written["due"]
        self._validated_step = None if written["due"] else written["step"]
        if self._checkpoints.is_fork and written["step"] < self._total_steps:
            return
        if written["ended"]:
            trainer.should_stop = True
        elif written["stop"] and written["due"]:
            # Only the last validation is left. Lightning would do nothing at all at its limit.
            loop = trainer.fit_loop.epoch_loop
            self._original_max_steps = loop.max_steps
            if loop.max_steps != -1:
                loop.max_steps = max(loop.max_steps, written["step"] + 1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._signals is not None:
            self._signals.restore_sigterm_handler()
            self._signals.may_finish_step = True
        self._is_at_boundary = True
        self._schedule_validation(trainer)
        if self._resumes_before_validation:
            self._original_val_check_batch = trainer.val_check_batch
            trainer.val_check_batch = 1

    # -- steps

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._is_at_boundary = False
        if self._is_resumed:
            correct_logged_step(trainer)
            self._is_resumed = False
        if trainer.world_size > 1 and trainer.is_global_zero:
            cast("EncoderModule", pl_module).requested_action = self._requested_action()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._received_signal():
            self.request_stop(SIGTERMException())
        self._schedule_validation(trainer)
        if not is_step_complete(trainer):
            # A time limit sets this again after each batch; the step is completed first.
            trainer.should_stop = False
            return
        self._is_at_boundary = True
        if trainer.global_step >= self._total_steps:
            trainer.should_stop = True
        action = self._agreed_action(trainer, cast("EncoderModule", pl_module))
        if self._checkpoints is not None and self._checkpoints.keeps_last:
            due = self._is_validation_due(trainer)
            is_time = action == StepAction.SAVE or self._checkpoints.is_save_step(trainer)
            # Where a validation is due, it comes first: its metrics go into the checkpoint.
            if action == StepAction.SAVE_AND_STOP or (is_time and not due):
                self._checkpoints.save(trainer, validation_due=due)
        if action == StepAction.SAVE_AND_STOP and self._stop_error is not None:
            raise self._stop_error

    def _schedule_validation(self, trainer: Trainer) -> None:
        if self._val_check_steps is not None:
            is_now = is_step_complete(trainer) and trainer.global_step % self._val_check_steps == 0
            # In batches: after this one, or after none.
            trainer.val_check_batch = 1 if is_now else sys.maxsize

    def _is_validation_due(self, trainer: Trainer) -> bool:
        return self._validated_step != trainer.global_step and is_validation_next(trainer)

    def _requested_action(self) -> StepAction:
        if self._stop_error is not None:
            return StepAction.SAVE_AND_STOP
        if self._checkpoints is not None and self._checkpoints.is_save_time():
            return StepAction.SAVE
        return StepAction.CONTINUE

    def _agreed_action(self, trainer: Trainer, module: "EncoderModule") -> int:
        """What the first rank requested before this step, the same on all ranks."""
        if trainer.world_size == 1:
            return self._requested_action()
        every = 1 if module.device.type == "cpu" else trainer.log_every_n_steps  # type: ignore[attr-defined]
        if module.agreed_action is None or trainer.global_step % every != 0:
            return StepAction.CONTINUE
        return int(module.agreed_action)

    # -- validations

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not is_fitting(trainer):
            return
        if self._received_signal():
            self.request_stop(SIGTERMException())
        if self._stop_error is not None:
            # The weights are those of the last step. The other ranks are not asked: each may be at
            # another batch.
            if self._checkpoints is not None:
                self._checkpoints.save_alone(trainer, validation_due=True)
            raise self._stop_error

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not is_fitting(trainer):
            return
        if self._original_val_check_batch is not None:
            trainer.val_check_batch = self._original_val_check_batch
            self._original_val_check_batch = None
        if self._original_max_steps is not None:
            trainer.fit_loop.epoch_loop.max_steps = self._original_max_steps
            self._original_max_steps = None
            trainer.should_stop = True
        self._validated_step = trainer.global_step
        if self._checkpoints is not None:
            is_requested = self._requested_action() != StepAction.CONTINUE
            self._checkpoints.save_after_validation(
                trainer, as_last=is_requested or trainer.should_stop
            )

    # -- ends

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._signals is None:
            return
        self._signals.may_finish_step = False
        if self._signals.received_signal is not None:
            # It came after the last step.
            raise SIGTERMException

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A signal ends a test at once, since a test is repeated whole.
        if self._signals is not None:
            self._signals.restore_sigterm_handler()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if self._checkpoints is None or not self._checkpoints.may_save_after_failure(trainer):
            return
        if isinstance(exception, NonFiniteLoss) and not exception.batch_positions:
            # the weights may not be good
            return
        if not self._is_at_boundary:
            self._checkpoints.note_interrupted_step(trainer)
            return
        try:
            self._checkpoints.save_alone(trainer, validation_due=self._is_validation_due(trainer))
        except ArithmeticError as error:
            # The weights themselves are not finite.
            self._checkpoints.unsaved_reason = str(error)

    def _received_signal(self) -> bool:
        if self._signals is None or not self._signals.may_finish_step:
            return False
        return self._signals.received_signal is not None
