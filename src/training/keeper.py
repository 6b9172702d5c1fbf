"""What keeps checkpoints while a model is trained, and puts the training back where a checkpoint was written.

A checkpoint is written at the border between two optimizer steps and nowhere else: weights, optimizer, schedule, loops,
callbacks, random states and place in the data then belong to one moment, and nothing of a step is half done. From there
a training goes on as if it had never stopped, bit for bit on the same machine with the same libraries.
"""

import math
import sys
import time
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn

from src.terms.fault import Fault
from src.training.checkpoints import ABOUT, Ties, listed, name, remove_partial, write
from src.training.distributed import gathered
from src.training.kept import Kept
from src.training.position import go_on_drawing, own_state, refresh_rates, validation_due, whole_state

_LEAVE, _WRITE, _GO_ON = 2, 1, 0  # what the first rank wants of a border; `EncoderModule.agreed` makes it known to all


class Keeper(Checkpoint):
    """Writes the checkpoints that `src.training.callbacks.Checkpoint` describes; Lightning calls it after all others.

    A disk that refuses ends no training: what was kept stays, the refusal is said once and noted at the run, and the
    next occasion is tried. With several ranks all take part, the first writes.

    Args:
        folder: of this run alone; files in it that are neither among the best nor among the last are deleted.
        ties: to the record of the run.
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
        ties: Ties,
    ) -> None:
        self.forking = False  # whether to begin from another run's checkpoint, by this run's rates and schedule
        self.remark: str | None = None  # why the last state is on no disk
        self._folder = folder
        self._monitor = monitor
        self._kept = Kept(folder=folder, sign=1 if mode == "min" else -1, most_best=keep or 0, most_last=keep_last or 0)
        self._every_steps = every_steps
        self._every_seconds = every_minutes * 60 if every_minutes is not None else math.inf
        self._ties = ties
        self._metrics: dict[str, float] = {}  # of the last validation
        self._loaded: dict[str, Any] | None = None  # the description of the checkpoint that this training began from
        self._fresh: list[dict[str, Any]] = []  # of each parameter group, as configured
        self._max_steps: int | None = None  # of the trainer, while it is lifted for a last validation
        self._interval: Any = None  # of validations, while one is due that no interval asks for
        self._counted = True  # whether Lightning's count of steps for loggers is right
        self._border = False
        self._saved = (0, False)  # step, and whether a validation was due there
        self._failed: tuple[int, float | None] | None = None  # step and score of the last refusal
        self._validated: int | None = None  # step
        self._ranks: list[dict[str, Any]] | None = None  # the own states of all, while one may have to write alone
        self._leaving: BaseException | None = None
        self._written_at = time.monotonic()

    # -- what others ask --------------------------------------------------------------------------------------------

    @property
    def best_model_path(self) -> str:
        """The checkpoint that is best by the monitored metric, or "" where there is none."""
        return str(self._folder / next(iter(self._kept.best))) if self._kept.best else ""

    @property
    def last_model_path(self) -> str:
        """The checkpoint to go on from, or "" where there is none."""
        found = listed(self._folder)
        return str(found[0]) if found else ""

    def leave(self, error: BaseException) -> None:
        """Write a checkpoint at the next border between steps and raise `error` there.

        To be called by the first rank. The others learn of it with the next step's gradients; on GPUs they look at
        every `trainer.log_every_n_steps`, where they wait for the device anyway.
        """
        self._leaving = error

    # -- going on ---------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.is_global_zero:
            remove_partial(self._folder)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        written = checkpoint.get(ABOUT)
        if not isinstance(written, dict):
            raise Fault("the checkpoint was not written by this program, so it does not say where to go on")
        if written["accumulate"] != trainer.accumulate_grad_batches:
            raise Fault(
                f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches}, but the checkpoint's steps were "
                f"made of {written['accumulate']} batches"
            )
        self._loaded = written
        self._saved = written["step"], written["due"]
        self._validated = None if written["due"] else written["step"]
        self._metrics = dict(written["metrics"])
        rank, states = trainer.global_rank, written["ranks"]
        own = states[rank]["callbacks"] if rank < len(states) and states[rank] is not None else {}
        for key in states[0]["callbacks"]:  # a further rank begins with nothing instead of with what the first had
            checkpoint["callbacks"].pop(key, None)
        checkpoint["callbacks"].update(own)
        for lost in self._kept.take_over(written, forking=self.forking):
            self._say(lost)
        more = self.forking and written["step"] < getattr(pl_module, "total_steps", 0)
        if written["ended"] and not more:
            trainer.should_stop = True
        elif written["stop"] and written["due"] and not more:  # all but the last validation was done
            epoch_loop = trainer.fit_loop.epoch_loop
            self._max_steps = epoch_loop.max_steps
            epoch_loop.max_steps = max(self._max_steps, written["step"] + 1) if self._max_steps != -1 else -1

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self._fresh = [{key: value for key, value in group.items() if key != "params"} for group in groups]
        if self._loaded is not None:
            self._tidy(trainer)  # a process that was killed may have left this undone

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._border = True
        self._written_at = time.monotonic()
        if self._loaded is None:
            return
        if self._loaded["batches"] != trainer.num_training_batches:
            raise Fault(
                f"an epoch has {trainer.num_training_batches} batches, but had {self._loaded['batches']} when the "
                "checkpoint was written (trainer.limit_batches)"
            )
        self._agree(trainer)
        if words := go_on_drawing(trainer, self._loaded["ranks"], self._saved[0]):
            self._ties.tag("random_state", words)
        self._counted = False
        if self.forking:
            refresh_rates(trainer, self._fresh)
        if self._loaded["due"]:
            self._interval, trainer.val_check_batch = trainer.val_check_batch, 1

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._agree(trainer)
        known = trainer._logger_connector._callback_metrics  # of training that was over, no validation has told them
        for key, value in self._metrics.items():
            known.setdefault(key, torch.tensor(value, dtype=torch.float64))

    # -- borders ----------------------------------------------------------------------------------------------------

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._border = False
        if not self._counted:  # it is not put right by Lightning for every hook
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
            self._counted = True
        if trainer.world_size > 1 and trainer.is_global_zero:
            pl_module.wish = self._wish()  # type: ignore[assignment]

    def _wish(self) -> int:
        if self._leaving is not None:
            return _LEAVE
        return _WRITE if time.monotonic() - self._written_at >= self._every_seconds else _GO_ON

    def _agreed(self, trainer: Trainer, module: LightningModule) -> int:
        """What the first rank wished before this step; the same on all ranks."""
        if trainer.world_size == 1:
            return self._wish()
        every = 1 if module.device.type == "cpu" else trainer.log_every_n_steps  # type: ignore[attr-defined]
        agreed = getattr(module, "agreed", None)
        return int(agreed) if agreed is not None and trainer.global_step % every == 0 else _GO_ON

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop.epoch_loop._should_accumulate():
            trainer.should_stop = False  # a time limit has it set again with each batch: the step is made whole first
            return
        self._border = True
        wish, due = self._agreed(trainer, pl_module), validation_due(trainer, self._validated)
        turn = self._every_steps is not None and trainer.global_step % self._every_steps == 0
        if self._kept.most_last and (wish == _LEAVE or ((wish == _WRITE or turn) and not due)):
            self._save(trainer, due=due)  # else after the validation
        if wish == _LEAVE and self._leaving is not None:
            raise self._leaving

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._fitting(trainer) and trainer.world_size > 1:
            self._ranks = gathered(own_state(trainer))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if self._leaving is not None and self._fitting(trainer):
            self._save_alone(trainer, due=True)
            raise self._leaving

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._fitting(trainer):
            return
        self._finish(trainer)
        self._validated = trainer.global_step
        measured = trainer.callback_metrics
        self._metrics = {key: float(value) for key, value in measured.items() if key.startswith("val/")}
        if self._kept.most_best and self._monitor not in measured:
            raise Fault(
                f"callbacks.checkpoint.monitor={self._monitor} is not among what validation has measured: "
                f"{', '.join(sorted(self._metrics))}"
            )
        score = float(measured[self._monitor]) if self._kept.most_best else math.nan
        best = self._kept.most_best > 0 and name(trainer.global_step) in self._kept.ranked(
            name(trainer.global_step), score
        )
        turn = self._every_steps is not None and trainer.global_step % self._every_steps == 0
        rolling = self._kept.most_last > 0 and (turn or self._wish() != _GO_ON or trainer.should_stop)
        if trainer.world_size > 1:  # clocks and lists of the ranks may differ
            best, rolling = trainer.strategy.broadcast((best, rolling))
        if best or rolling:
            self._save(trainer, score=score if best else None)
        self._ranks = None

    def _finish(self, trainer: Trainer) -> None:
        """After the validation that was due when a checkpoint was written: the intervals are the usual ones again."""
        if self._interval is not None:
            trainer.val_check_batch, self._interval = self._interval, None
        if self._max_steps is not None:
            trainer.fit_loop.epoch_loop.max_steps, self._max_steps = self._max_steps, None
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._failed is not None and self._failed[0] == trainer.global_step:
            self._save(trainer, score=self._failed[1])  # there may be room again
        if self._failed is not None and not listed(self._folder):
            raise OSError(f"{self.remark}; there is no checkpoint at all")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.state.fn != TrainerFn.FITTING or not trainer.is_global_zero or not self._kept.most_last:
            return
        step = trainer.global_step
        if step == self._saved[0]:
            return
        if self._border:
            try:
                self._save_alone(trainer, due=validation_due(trainer, self._validated))
            except ArithmeticError as error:  # the weights are not good
                self.remark = str(error)
        else:
            kept = Path(self.last_model_path).name
            self.remark = (
                f"optimizer step {step + 1} was cut off in its midst: "
                f"{f'the last checkpoint is {kept}' if kept else 'there is no checkpoint yet'}"
            )

    # -- writing ----------------------------------------------------------------------------------------------------

    def _save_alone(self, trainer: Trainer, *, due: bool) -> None:
        """Without the other ranks, which cannot be asked now; sharded weights are out of reach then."""
        if not self._kept.most_last:
            return
        if trainer.world_size > 1 and isinstance(trainer.strategy, ModelParallelStrategy):
            self.remark = "the weights are divided among devices, and not all could be asked for theirs"
            return
        self._save(trainer, due=due, together=False)

    def _save(self, trainer: Trainer, *, score: float | None = None, due: bool = False, together: bool = True) -> None:
        """Write this border's checkpoint, unless it is there, and delete what is no longer to be kept.

        Args:
            score: of the monitored metric, where it is to be among the best.
            due: whether a validation is to come at this border.
            together: with all ranks.
        """
        step, module = trainer.global_step, trainer.lightning_module
        if self._saved == (step, due) and score is None and self._failed is None:
            return
        finite = getattr(module, "check_finite", None)
        if finite is not None:
            finite()
        file, before = name(step), (self._kept.best, self._kept.last)
        self._kept.add(file, score)
        state = self._state(trainer, due=due, together=together)
        failure = None
        if trainer.is_global_zero:
            try:
                write(state, self._folder / file, persist=self._ties.persist)
            except OSError as error:
                failure = str(error)
        if trainer.world_size > 1 and together:
            failure = trainer.strategy.broadcast(failure)
        self._written_at = time.monotonic()
        if failure is not None:
            self._kept.best, self._kept.last = before
            first, self._failed = self._failed is None, (step, score)
            kept = Path(self.last_model_path).name
            self.remark = (
                f"the checkpoint of optimizer step {step} could not be written: {failure}"
                f"{f' (the last one is {kept})' if kept else ''}"
            )
            if trainer.is_global_zero:
                self._say(self.remark, aloud=first)
            return
        self._saved, self._failed, self.remark = (step, due), None, None
        self._tidy(trainer)

    def _tidy(self, trainer: Trainer) -> None:
        """Delete what is no longer to be kept, and have the record hold the rest."""
        if trainer.is_global_zero:
            self._kept.tidy()
            self._ties.mirror(self._folder, "checkpoints")

    def _state(self, trainer: Trainer, *, due: bool, together: bool) -> dict[str, Any]:
        own = own_state(trainer)
        alone = [own, *[None] * (trainer.world_size - 1)]
        kept = {"metrics": self._metrics, "best": self._kept.best, "last": self._kept.last}
        ranks = self._ranks or (gathered(own) if together else alone)
        return whole_state(trainer, due=due, about={**self._ties.about, **kept, "ranks": ranks})

    def _agree(self, trainer: Trainer) -> None:
        """All ranks know what the first has kept."""
        if trainer.world_size > 1:
            self._kept.best, self._kept.last = trainer.strategy.broadcast((self._kept.best, self._kept.last))

    def _say(self, words: str, *, aloud: bool = True) -> None:
        if aloud:
            print(f"warning: {words}", file=sys.stderr, flush=True)
        self._ties.tag("checkpoint_error", words)

    @staticmethod
    def _fitting(trainer: Trainer) -> bool:
        return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
