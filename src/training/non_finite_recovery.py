"""Training, repeated from the last checkpoint after a loss or gradient that was not finite."""

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from src.core.failures import NonFiniteLoss
from src.core.printing import print_line
from src.training.checkpoint_callback import find_checkpoint_callback
from src.training.checkpoint_files import find_newest_checkpoint, read_checkpoint_description

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, Trainer

    from src.model.module import EncoderModule


class FitRecord(Protocol):
    """The part of a run's record that is needed here."""

    @property
    def run_id(self) -> str: ...
    def log_metrics(self, values: Mapping[str, float], *, step: int = 0) -> None: ...
    def set_tag(self, key: str, value: object) -> None: ...
    def skip_logged_steps(self) -> None: ...


def fit_with_recovery(
    module: "EncoderModule",
    datamodule: "LightningDataModule",
    *,
    build_trainer: "Callable[[], Trainer]",
    build_module: "Callable[[], EncoderModule]",
    checkpoint: Path | None,
    is_foreign_checkpoint: bool,
    checkpoint_folder: Path,
    max_skips: int | None,
    record: FitRecord,
) -> "tuple[EncoderModule, Trainer]":
    """Train until the end; returns the module that was trained, and its Trainer.

    A loss or gradient that is not finite stops the training before the update. With `max_skips` it
    goes back to the last whole checkpoint (to the beginning if there is none yet) and on from there
    without the batch. On a CPU the batch is known; if only a gradient is not finite, all batches of
    its step are left out. On a GPU no step waits for such a check: the device skips the update,
    which is noticed before the next checkpoint is written. The steps from the last checkpoint on
    are then repeated, each one checked, until the batch is found. If none is found then, training
    simply goes on. Every later checkpoint knows which batches are left out.

    Args:
        module, datamodule: to begin with.
        build_trainer: builds a Trainer with callbacks of its own.
        build_module: builds the module as it was in the beginning.
        checkpoint: to begin from; None: from the beginning.
        is_foreign_checkpoint: another run has written it.
        checkpoint_folder: of this run.
        max_skips: how often batches may be left out in the whole run; None: never.
        record: of the run.

    Raises:
        NonFiniteLoss: the batch may not be left out, or could not be found.
    """
    skips: list[list[tuple[int, int]]] = []
    while True:
        trainer = build_trainer()
        if is_foreign_checkpoint:
            checkpoints = find_checkpoint_callback(trainer)
            assert checkpoints is not None
            checkpoints.is_fork = True
        module.skipped_batches = skips
        try:
            trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
            return module, trainer
        except NonFiniteLoss as error:
            if max_skips is None:
                raise
            skips, watched, step = *_decide_skips(module, error, max_skips), error.step
            reason = str(error).partition(":")[0]
        found = find_newest_checkpoint(checkpoint_folder)
        checkpoint = found.path
        is_foreign_checkpoint = (
            checkpoint is not None
            and read_checkpoint_description(checkpoint).get("run_id") != record.run_id
        )
        count = sum(map(len, skips))
        words = f"{reason}; back to {checkpoint.name if checkpoint else 'the beginning'}"
        print_line(
            "; ".join([words, *found.remarks, f"{count} batches are left out so far"]),
            to_stderr=True,
        )
        record.skip_logged_steps()
        record.log_metrics({"train/skipped_batches": count}, step=step)
        record.set_tag(
            "skipped_batches", "; ".join(_format_batches(places) for places in skips) or "none yet"
        )
        module = build_module()
        module.check_finite_until_step = watched
        del trainer
        # The old training's worker processes and graphs go before new ones come.
        gc.collect()


def _decide_skips(
    module: "EncoderModule", error: NonFiniteLoss, max_skips: int
) -> tuple[list[list[tuple[int, int]]], int]:
    """Return the batches to leave out from now on, and the step up to which a GPU checks each one.

    Raises `error` if nothing more may or can be left out.
    """
    if error.batch_positions:
        if len(module.skipped_batches) >= max_skips:
            error.add_note(f"as many batches were left out as trainer.max_skips={max_skips} allows")
            raise error
        return [*module.skipped_batches, error.batch_positions], module.check_finite_until_step
    # Each step was checked, no batch was found, and still an update was not finite.
    if error.step <= module.check_finite_until_step:
        raise error
    return module.skipped_batches, error.step


def _format_batches(places: list[tuple[int, int]]) -> str:
    (epoch, first), (_, last) = places[0], places[-1]
    return f"epoch {epoch} batch {first}" + (f" to {last}" if last != first else "")
