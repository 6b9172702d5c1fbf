"""Small trainings that write checkpoints, for the tests of how they go on."""

import contextlib
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning import seed_everything
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from src.config.build_nodes import build_node
from src.training.callbacks import Checkpoint, Progress
from src.training.checkpoint_callback import CheckpointCallback
from src.training.checkpoint_files import CheckpointHooks, checkpoint_name, parse_checkpoint_step
from src.training.launcher import RankInfo, RankLauncher
from src.training.training_metrics import Meter

SMALL = (
    "model/encoder=tiny",
    "model.encoder.width=16",
    "model.encoder.layers=1",
    "model.encoder.dropout=0.2",
    "trainer=cpu",
    "trainer.precision=fp32",
    "trainer.log_every_n_steps=2",
    "trainer.threads=1",
    "data.source.train=80",
    "data.source.validation=12",
    "data.source.test=4",
)
MASKED = (
    "data=generated_text",
    "model=masked_lm",
    "data.batching.row_tokens=32",
    "data.batching.batch_size=4",
    *SMALL,
)
DENOISING = (
    "data=generated_text",
    "data.task=denoising",
    "data/batching=denoising",
    "model=denoising",
    "data.batching.row_tokens=32",
    "data.batching.deletion_fraction=0.1",
    "data.batching.batch_size=16",
    "trainer.max_epochs=2",
    "trainer.val_check_steps=3",
    *SMALL,
    "model/encoder=bart_tiny",
)
LABELLED = (
    "data=generated",
    "model=classification",
    "data.batching.batch_size=16",
    "data.batching.batch_tokens=300",
    "data.batching.group_by_length=true",
    "trainer.max_epochs=3",
    "callbacks=early_stopping",
    "callbacks.early_stopping.patience=50",
    *SMALL,
)
TAGGED = (
    "data=generated_entities",
    "model=token_classification",
    "data.batching.batch_size=16",
    "trainer.max_epochs=2",
    *SMALL,
)
# measured, not computed
OF_TIME = ("seconds", "per_second", "mfu", "memory", "joules", "energy")
Compose = Callable[..., dict[str, Any]]
# key and step
Point = tuple[str, int]


class Points(Logger):
    """Keeps every point: (key, step) to value."""

    name = version = "points"

    def __init__(self) -> None:
        super().__init__()
        self.points: dict[Point, float] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        for key, value in metrics.items():
            assert step is not None
            if not any(each in key for each in OF_TIME):
                assert (key, step) not in self.points, "logged twice"
                self.points[key, step] = float(value)

    def log_hyperparams(self, *arguments: Any, **named: Any) -> None:
        """Nothing to keep."""

    def after(self, step: int) -> dict[Point, float]:
        return {point: value for point, value in self.points.items() if point[1] > step}

    def without(self, logged: Mapping[Point, float]) -> dict[Point, float]:
        """The points that are not among those, which must have the same values."""
        assert logged.items() <= self.points.items()
        return {point: value for point, value in self.points.items() if point not in logged}


class Seen(Callback):
    """Which rows were trained on, and drawn numbers that only the same generators give."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, str]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.batches.append((trainer.fit_loop.total_batch_idx, str(batch.tokens.ids.tolist())))


class Interrupted(Exception):
    """Ends a training in a test."""


class Training(NamedTuple):
    trainer: Trainer
    module: Any
    points: Points
    seen: Seen
    keeper: CheckpointCallback


def train(
    config: dict[str, Any],
    folder: Path,
    *watching: Callback,
    begin: Path | None = None,
    forking: bool = False,
    hooks: CheckpointHooks | None = None,
    launcher: RankLauncher | None = None,
    precision: str = "32-true",
    **keeping: Any,
) -> Training:
    """Build everything anew and train; from a checkpoint, where there is one to begin at."""
    datamodule, module = (build_node(config[part]).build() for part in ("data", "model"))
    training = build_node(config["trainer"])
    watchers = [
        build_node(each)
        for key, each in config["callbacks"].items()
        if key in ("early_stopping", "row_order")
    ]
    seed_everything(3, verbose=False)
    place = RankInfo() if launcher is None else launcher.rank_info
    datamodule.set_rank(place.rank, place.world_size, training.batch_ranks)
    datamodule.prepare_data()
    length = training.count_steps(datamodule.dataset_info.batches_per_epoch)
    datamodule.set_training_length(length)
    total = length.total_steps
    module.set_dataset_info(datamodule.dataset_info, total)
    [keeper] = Checkpoint(
        **{"every_steps": 1, "keep_last": 100, "every_minutes": None, **keeping}
    ).build(folder, hooks)
    assert isinstance(keeper, CheckpointCallback)
    keeper.is_fork = forking
    points, seen = Points(), Seen()
    ready = [
        each for watcher in (*watchers, Progress(style="off")) for each in watcher.build(folder)
    ]
    trainer = training.build(
        callbacks=[keeper, Meter(), *ready, seen, *watching],
        logger=points,
        lightning_precision=precision,
        root=str(folder),
        total_steps=total,
        launcher=launcher,
    )
    made = Training(trainer, module, points, seen, keeper)
    if begin is not None:
        for seed in (torch.manual_seed, random.seed, np.random.seed):
            # whatever was drawn before
            seed(99)
    with contextlib.suppress(Interrupted):
        trainer.fit(module, datamodule=datamodule, ckpt_path=begin, weights_only=True)
    return made


def same(one: Any, other: Any) -> bool:
    """Equal in structure and to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def assert_goes_on(whole: Training, rest: Training, *, logged: int | Mapping[Point, float]) -> None:
    """`rest` is the end of `whole`; `logged` until the step or the points that were logged before
    it began.
    """
    expected = (
        whole.points.after(logged) if isinstance(logged, int) else whole.points.without(logged)
    )
    assert rest.trainer.global_step == whole.trainer.global_step
    assert same(whole.module.state_dict(), rest.module.state_dict())
    assert same(whole.trainer.optimizers[0].state_dict(), rest.trainer.optimizers[0].state_dict())
    assert rest.points.points == expected
    assert (
        rest.seen.batches == whole.seen.batches[-len(rest.seen.batches) :]
        if rest.seen.batches
        else True
    )
    loops = [each.trainer.fit_loop.epoch_loop for each in (whole, rest)]
    if rest.seen.batches:
        assert loops[0]._batches_that_stepped == loops[1]._batches_that_stepped
    assert rest.keeper._retention.best == whole.keeper._retention.best
    assert same(whole.keeper._validation_metrics, rest.keeper._validation_metrics)


def begun_at(whole: Path, folder: Path, step: int) -> Path:
    """A copy of a folder of checkpoints as it was when that of `step` was the newest; returns that
    one.
    """
    folder.mkdir()
    for each in whole.glob("*.ckpt"):
        if parse_checkpoint_step(each) <= step:
            shutil.copy(each, folder)
    return folder / checkpoint_name(step)
