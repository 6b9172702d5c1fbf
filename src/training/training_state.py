"""The state of a training between two optimizer steps: progress, random states, learning rates."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer

from src import __version__
from src.training.checkpoint_files import DESCRIPTION_KEY
from src.training.lightning_internals import dump_checkpoint


def collect_training_state(
    trainer: Trainer, *, validation_due: bool, description: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a checkpoint holds: all of a training, in tensors and plain values.

    It counts global batches, which do not depend on the number of ranks.

    Args:
        validation_due: a validation comes before the next batch, from its beginning.
        description: added to the checkpoint's description of itself.
    """
    parts = count_batch_parts(trainer)
    state = dump_checkpoint(trainer, validation_due=validation_due, parts=parts)
    counters = state["loops"]["fit_loop"]
    state[DESCRIPTION_KEY] = {
        **description,
        "version": __version__,
        "step": trainer.global_step,
        "epoch": counters["epoch_progress"]["current"]["processed"],
        "batch": counters["epoch_loop.batch_progress"]["current"]["processed"],
        "batches": int(trainer.num_training_batches) // parts,
        "accumulate": trainer.accumulate_grad_batches // parts,
        "due": validation_due,
        "stop": trainer.should_stop,
        # A training that ran out of time goes on where it is given more.
        "ended": trainer.should_stop and not validation_due and not is_time_over(trainer),
        "world": trainer.world_size,
    }
    return state


def count_batch_parts(trainer: Trainer) -> int:
    """Return the batches of a rank that make its share of a global one."""
    return int(getattr(getattr(trainer, "datamodule", None), "num_parts", 1))


def is_time_over(trainer: Trainer) -> bool:
    """True where the training was given a time, and has used it up."""
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    remaining = [timer.time_remaining() for timer in timers]
    return any(seconds is not None and seconds <= 0 for seconds in remaining)


def collect_rank_state(trainer: Trainer) -> dict[str, Any]:
    """Return the state that each rank has for itself.

    That is its random states, and the state of each callback with a true `has_rank_state`.
    """
    callbacks = {
        callback.state_key: callback.state_dict()
        for callback in trainer.callbacks  # type: ignore[attr-defined]
        if getattr(callback, "has_rank_state", False)
    }
    return {"random": get_rng_state(trainer.lightning_module.device), "callbacks": callbacks}


def get_rng_state(device: torch.device) -> dict[str, Any]:
    """Return the state of each generator that a step may draw from, in tensors and plain values."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (
            str(kind),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            gauss,
        ),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Put the generators back where `get_rng_state` found them."""
    torch.set_rng_state(state["torch"])
    random.setstate(state["python"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def restore_rank_rng(
    trainer: Trainer, states: list[dict[str, Any] | None], step: int
) -> str | None:
    """Put this rank's generators where they were at an optimizer step.

    Where that is not known, this rank begins a new random sequence.

    Args:
        states: for each rank that there was, what `collect_rank_state` returned; None: unknown.

    Returns:
        A remark for people if some ranks begin a new sequence, else None.
    """
    rank, module = trainer.global_rank, trainer.lightning_module
    state = states[rank] if rank < len(states) else None
    if state is not None:
        set_rng_state(state["random"], module.device)
    else:
        # With the seed alone it would draw again what it drew before.
        torch.manual_seed(torch.initial_seed() + step)
    known = sum(state is not None for state in states[: trainer.world_size])
    if known == trainer.world_size:
        return None
    return (
        f"at optimizer step {step} the noise of dropout was begun anew on "
        f"{trainer.world_size - known} of {trainer.world_size} devices"
    )


def reset_learning_rates(trainer: Trainer, configured_groups: list[dict[str, Any]]) -> None:
    """Set the optimizer and its schedule as configured, at the step that training has reached.

    Args:
        configured_groups: the settings of each parameter group before a checkpoint was loaded.
    """
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    for group, settings in zip(groups, configured_groups, strict=True):
        group.update(settings)
    for config in trainer.lr_scheduler_configs:
        schedule: Any = config.scheduler
        schedule.base_lrs = [group["initial_lr"] for group in schedule.optimizer.param_groups]
        factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
        rates = [base * factor for base, factor in zip(schedule.base_lrs, factors, strict=True)]
        for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        schedule._last_lr = rates
