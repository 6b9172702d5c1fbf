"""The Lightning callback of a trial: it hands each validation to the trial's hooks, and stops the
training if they say so.
"""

import sys
from typing import TYPE_CHECKING, Any

from src.search.pruners import PROGRESS, VALIDATION_ROWS

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer

    from src.search.run.trial_hooks import TrialHooks


def _count_validation_rows(trainer: "Trainer") -> int:
    """The rows of the validation set; 0 where there is no data module of ours to tell them."""
    stores = getattr(getattr(trainer, "datamodule", None), "token_stores", {})
    return len(stores["validation"]) if "validation" in stores else 0


def build_callback(hooks: "TrialHooks") -> "Callback":
    """Reports each validation, and stops the training on all ranks if the first one says so.

    The number of validations goes into checkpoints, so that a trial that goes on counts on. It is
    no state of the callback: Lightning warns of state that no callback takes, and the run may be
    resumed outside of its sweep.
    """
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.trainer.states import TrainerFn

    class TrialCallback(Callback):
        def __init__(self) -> None:
            self._validations = 0

        def on_save_checkpoint(
            self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
        ) -> None:
            checkpoint["trial"] = {"validations": self._validations, "pruned": hooks.pruned_reason}

        def on_load_checkpoint(
            self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
        ) -> None:
            state = checkpoint.get("trial", {})
            self._validations = state.get("validations", 0)
            hooks.pruned_reason = state.get("pruned")

        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            hooks.write_progress(trainer.global_step, getattr(pl_module, "total_steps", -1))

        def on_train_batch_end(
            self,
            trainer: Trainer,
            pl_module: LightningModule,
            outputs: Any,
            batch: Any,
            batch_idx: int,
        ) -> None:
            hooks.write_progress(trainer.global_step, getattr(pl_module, "total_steps", -1))

        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
                return
            self._validations += 1
            step = trainer.global_step
            metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
            total_steps = getattr(pl_module, "total_steps", sys.maxsize)
            reason = hooks.report_validation(
                self._validations,
                step,
                metrics,
                is_last=step >= total_steps,
                **{
                    VALIDATION_ROWS: _count_validation_rows(trainer),
                    PROGRESS: step / max(total_steps, 1),
                },
            )
            if trainer.world_size > 1 and hooks.trial.pruner is not None:
                reason = trainer.strategy.broadcast(reason)
            hooks.pruned_reason = reason
            if reason is not None:
                trainer.should_stop = True

    return TrialCallback()
