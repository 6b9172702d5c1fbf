"""Training, and training again from the last checkpoint where a loss or a gradient was not finite."""

import gc
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from src.terms.world import NonFiniteLoss
from src.training.checkpoints import about, find

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, Trainer

    from src.model.module import EncoderModule


class Record(Protocol):
    """What this file must know of a run's record."""

    @property
    def run_id(self) -> str: ...
    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None: ...
    def tag(self, key: str, value: object) -> None: ...
    def repeated(self) -> None: ...


def fit(
    module: "EncoderModule",
    datamodule: "LightningDataModule",
    *,
    loop: "Callable[[], Trainer]",
    fresh: "Callable[[], EncoderModule]",
    start: Path | None,
    foreign: bool,
    folder: Path,
    most_skips: int | None,
    record: Record,
) -> "tuple[EncoderModule, Trainer]":
    """Train until the end; returns the module that was trained, and its trainer.

    A loss that is not finite stops the training before the update. With `most_skips` it goes back to the last whole
    checkpoint (to the beginning where there is none yet) and on from there without the batch. On a CPU the batch is
    known, where only a gradient is not finite all batches of the step. On a GPU no step waits to be looked at: the
    device leaves the update out, that is noticed before the next checkpoint is written, and the steps from the last one
    are repeated, each looked at, until the batch is found; where none is then found, the training simply goes on.
    What is left out is part of every later checkpoint.

    Args:
        loop: makes a Trainer with callbacks of its own.
        fresh: makes the module as it was in the beginning.
        start: the checkpoint to begin from.
        foreign: whether that is another run's.
        folder: of the run's checkpoints.
        most_skips: how often a batch may be left out in the whole run; None: never, `NonFiniteLoss` passes.
    """
    skips: list[list[tuple[int, int]]] = []
    while True:
        trainer = loop()
        if foreign:
            trainer.checkpoint_callback.forking = True  # type: ignore[union-attr]
        module.skips = skips
        try:
            trainer.fit(module, datamodule=datamodule, ckpt_path=start, weights_only=True)
            return module, trainer
        except NonFiniteLoss as error:
            if most_skips is None:
                raise
            skips, watched, step = *_decided(module, error, most_skips), error.step
            reason = str(error).partition(":")[0]
        found = find(folder)
        start = found.path
        foreign = start is not None and about(start).get("run_id") != record.run_id
        count = sum(map(len, skips))
        words = f"{reason}; back to {start.name if start else 'the beginning'}"
        print("; ".join([words, *found.remarks, f"{count} batches are left out so far"]), file=sys.stderr, flush=True)
        record.repeated()
        record.metrics({"train/skipped_batches": count}, step=step)
        record.tag("skipped_batches", "; ".join(_named(places) for places in skips) or "none yet")
        module = fresh()
        module.watched_until = watched
        del trainer
        gc.collect()  # the old training's worker processes and graphs go before new ones come


def _decided(module: "EncoderModule", error: NonFiniteLoss, most_skips: int) -> tuple[list[list[tuple[int, int]]], int]:
    """What is to be left out from now on, and up to which step a GPU must look at each; raises `error` for no more."""
    if error.places:
        if len(module.skips) >= most_skips:
            error.add_note(f"as many batches were left out as trainer.max_skips={most_skips} allows")
            raise error
        return [*module.skips, error.places], module.watched_until
    if error.step <= module.watched_until:  # it was looked for and not found, and still it is there
        raise error
    return module.skips, error.step


def _named(places: list[tuple[int, int]]) -> str:
    (epoch, first), (_, last) = places[0], places[-1]
    return f"epoch {epoch} batch {first}" + (f" to {last}" if last != first else "")
