"""The parts of Lightning 2.6 that are not its public interface; no other file touches them.

A training is resumed exactly only if its loops begin where they stopped. Lightning saves the
counters of its loops as they happen to be, and guesses from them in which hook a checkpoint was
written; some of these guesses repeat or skip a validation. `collect_loop_state` therefore saves
the counters as they stand when a batch and its validation are over, the only case that Lightning
restores without a guess (`_TrainingEpochLoop.update_restart_stage`).
"""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn

_PROGRESS_STAGES = ("ready", "started", "processed", "completed")


def is_fitting(trainer: Trainer) -> bool:
    """True in `fit`, its validations included, but for the sanity check before training."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def is_step_complete(trainer: Trainer) -> bool:
    """False while gradients are still being accumulated for an optimizer step."""
    return not trainer.fit_loop.epoch_loop._should_accumulate()


def is_validation_next(trainer: Trainer) -> bool:
    """True where Lightning would validate before it takes another training batch."""
    fetcher: Any = trainer.fit_loop._data_fetcher
    return bool(trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher))


def correct_logged_step(trainer: Trainer) -> None:
    """Set the step that Lightning gives its loggers; after a resume it can be one too high."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def add_callback_metrics(trainer: Trainer, metrics: Mapping[str, float]) -> None:
    """Add to `trainer.callback_metrics` those that it lacks."""
    known = trainer._logger_connector._callback_metrics
    for key, value in metrics.items():
        known.setdefault(key, torch.tensor(value, dtype=torch.float64))


def disable_sigterm_broadcast(trainer: Trainer) -> None:
    """Keep Lightning from asking all ranks before each batch if a signal came.

    Each question waits for the GPU. Signals are the first rank's business here (StepControl).
    """
    loop: Any = trainer.fit_loop.epoch_loop
    if hasattr(loop, "_broadcast_sigterm_tensor"):
        loop._broadcast_sigterm_tensor = _do_nothing


def _do_nothing() -> None:
    pass


def dump_checkpoint(trainer: Trainer, *, validation_due: bool, parts: int) -> dict[str, Any]:
    """Return Lightning's checkpoint of a training between two steps: tensors and plain values.

    Args:
        validation_due: a validation comes before the next batch, from its beginning.
        parts: batches of this process that make its share of a global one.
    """
    state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
    loops = collect_loop_state(trainer, validation_due=validation_due, parts=parts)
    return {**state, "loops": loops}


def multiply_batch_counters(loops: Mapping[str, Any], parts: int) -> None:
    """Count the batches of a process in the loops of a checkpoint, which has counted global ones,
    in place.
    """
    batches = loops["fit_loop"]["epoch_loop.batch_progress"]
    for part in ("total", "current"):
        batches[part] = {stage: count * parts for stage, count in batches[part].items()}


def collect_loop_state(trainer: Trainer, *, validation_due: bool, parts: int = 1) -> dict[str, Any]:
    """Return the counters of the training loop with all batches so far done. They count global
    batches, each of which is `parts` batches of this process.
    """
    state = trainer.fit_loop.state_dict()
    # An epoch stays under way until the next one begins.
    for part in ("total", "current"):
        epochs = state["epoch_progress"][part]
        epochs["ready"] = epochs["started"]
        epochs["processed"] = epochs["completed"] = epochs["started"] - 1
    batches = state["epoch_loop.batch_progress"]
    is_epoch_over = batches["current"]["processed"] >= trainer.num_training_batches
    for part in ("total", "current"):
        batches[part] |= dict.fromkeys(_PROGRESS_STAGES, batches[part]["processed"] // parts)
    done = batches["current"]["processed"]
    batches["is_last_batch"] = is_epoch_over
    # Lightning repeats a validation if one of its batches was begun; a validation without batches
    # it takes for done.
    begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    none = dict.fromkeys(_PROGRESS_STAGES, 0)
    state["epoch_loop.val_loop.batch_progress"] |= {
        "total": begun if validation_due else dict(none),
        "current": none,
    }
    for loader in state["state_dict"].get("combined_loader", []):
        loader["epoch"] = state["epoch_progress"]["current"]["processed"]
        # At the end of an epoch the loader is at its own end, also if the run uses only some of
        # its batches (trainer.limit_batches).
        loader["batch"] = loader["batches"] if is_epoch_over else done
    return {"fit_loop": state}
