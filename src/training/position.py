"""Where a training stands between two optimizer steps, so that it can go on there: progress and random states.

Lightning writes down the counters of its loops as they happen to be, and has a rule for each hook in which that may
be; some of these rules repeat or skip a validation. Here the counters are put as they are when a batch is over with
all that follows it, the one case that is unambiguous (`_TrainingEpochLoop.update_restart_stage`, Lightning 2.6). One
more fact is told apart: whether a validation is still due there.
"""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer

from src import __version__
from src.training.checkpoints import ABOUT

_ALL = ("ready", "started", "processed", "completed")


def whole_state(trainer: Trainer, *, due: bool, about: Mapping[str, Any]) -> dict[str, Any]:
    """All of a training at a border between steps, in tensors and plain values: what a checkpoint holds.

    Args:
        due: a validation is to come before the next batch, from its beginning.
        about: goes into the checkpoint's description of itself.
    """
    state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
    state["loops"] = loops(trainer, due=due)
    counters = state["loops"]["fit_loop"]
    left = [each.time_remaining() for each in trainer.callbacks if isinstance(each, Timer)]  # type: ignore[attr-defined]
    timed_out = any(seconds is not None and seconds <= 0 for seconds in left)
    state[ABOUT] = {
        **about,
        "version": __version__,
        "step": trainer.global_step,
        "epoch": counters["epoch_progress"]["current"]["processed"],
        "batch": counters["epoch_loop.batch_progress"]["current"]["processed"],
        "batches": trainer.num_training_batches,
        "accumulate": trainer.accumulate_grad_batches,
        "due": due,
        "stop": trainer.should_stop,
        "ended": trainer.should_stop and not due and not timed_out,  # with more time it would go on
        "world": trainer.world_size,
    }
    return state


def own_state(trainer: Trainer) -> dict[str, Any]:
    """What each rank has for itself: its random states, and what a callback with `of_rank` has counted there."""
    apart = {each.state_key: each.state_dict() for each in trainer.callbacks if getattr(each, "of_rank", False)}  # type: ignore[attr-defined]
    return {"random": random_state(trainer.lightning_module.device), "callbacks": apart}


def loops(trainer: Trainer, *, due: bool) -> dict[str, Any]:
    """The counters of the training loop, as a checkpoint's `loops` has them: all batches so far are done.

    Args:
        due: a validation is to come before the next batch, from its beginning.
    """
    found = trainer.fit_loop.state_dict()
    for part in ("total", "current"):  # an epoch stays under way until the next begins
        epochs = found["epoch_progress"][part]
        epochs["ready"] = epochs["started"]
        epochs["processed"] = epochs["completed"] = epochs["started"] - 1
    batches = found["epoch_loop.batch_progress"]
    for part in ("total", "current"):
        batches[part] |= dict.fromkeys(_ALL, batches[part]["processed"])
    done = batches["current"]["processed"]
    over = done >= trainer.num_training_batches
    batches["is_last_batch"] = over
    # A validation of which a batch was begun is run again; of one without batches Lightning thinks that it is done.
    begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0} if due else dict.fromkeys(_ALL, 0)
    found["epoch_loop.val_loop.batch_progress"] |= {"total": begun, "current": dict.fromkeys(_ALL, 0)}
    for loader in found["state_dict"].get("combined_loader", []):
        loader["epoch"] = found["epoch_progress"]["current"]["processed"]
        loader["batch"] = loader["batches"] if over else done  # the end, where only some batches are used (dry runs)
    return {"fit_loop": found}


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of each generator that a step may draw from, in tensors and plain values."""
    kind, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(place), int(has_gauss), gauss),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Undo what was drawn since `random_state`."""
    torch.set_rng_state(state["torch"])
    random.setstate(state["python"])
    kind, keys, place, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), place, has_gauss, gauss))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def go_on_drawing(trainer: Trainer, states: list[dict[str, Any] | None], step: int) -> str | None:
    """Put this rank's generators where they were at an optimizer step, or begin anew where that is not known.

    Args:
        states: of each rank that there was, as `own_state` gives them; None where it was not known.

    Returns:
        What a person should know: how many devices begin anew. None where all go on.
    """
    rank, module = trainer.global_rank, trainer.lightning_module
    state = states[rank] if rank < len(states) else None
    if state is not None:
        set_random_state(state["random"], module.device)
    else:
        torch.manual_seed(torch.initial_seed() + step)  # else it would draw again what it drew before
    known = sum(each is not None for each in states[: trainer.world_size])
    if known == trainer.world_size:
        return None
    return (
        f"at optimizer step {step} the noise of dropout was begun anew on {trainer.world_size - known} of "
        f"{trainer.world_size} devices"
    )


def validation_due(trainer: Trainer, validated: int | None) -> bool:
    """Whether a validation comes before the next batch.

    Args:
        validated: the optimizer step of the last validation.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    return validated != trainer.global_step and bool(loop._should_check_val_fx(trainer.fit_loop._data_fetcher))


def refresh_rates(trainer: Trainer, fresh: list[dict[str, Any]]) -> None:
    """Put back rates, their schedule and the optimizer's other settings as configured, at the step that is reached.

    Args:
        fresh: of each parameter group its settings before a checkpoint was loaded.
    """
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    for group, settings in zip(groups, fresh, strict=True):
        group.update(settings)
    for config in trainer.lr_scheduler_configs:
        schedule: Any = config.scheduler
        schedule.base_lrs = [group["initial_lr"] for group in schedule.optimizer.param_groups]
        factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
        rates = [base * factor for base, factor in zip(schedule.base_lrs, factors, strict=True)]
        for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        schedule._last_lr = rates
