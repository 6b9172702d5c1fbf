"""What the keeper of checkpoints writes, when, and what becomes of trainings that are cut off."""

import errno
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from src.core.user_errors import UserError
from src.data.batches.loader import BatchDataset
from src.training import checkpoint_callback as keeping
from src.training.checkpoint_files import (
    CheckpointHooks,
    find_checkpoint_damage,
    find_newest_checkpoint,
    parse_checkpoint_step,
    read_checkpoint_description,
)
from src.training.step_control import StepControl
from tests.training.small_trainings import (
    LABELLED,
    Compose,
    Interrupted,
    Training,
    assert_goes_on,
    begun_at,
    same,
    train,
)

ACCUMULATING = (
    *LABELLED,
    "trainer.accumulate_grad_batches=2",
    "trainer.max_epochs=2",
    "data.batching.batch_tokens=250",
)


@pytest.fixture
def config(composed: Compose, tmp_path: Path) -> dict[str, Any]:
    """Labelled rows, 2 batches a step, 2 epochs, each with a validation at its end."""
    return composed(*ACCUMULATING, f"data.cache={tmp_path}/cache")


def steps(folder: Path) -> list[int]:
    # of nothing else
    return sorted(parse_checkpoint_step(each) for each in folder.glob("*"))


class Cut(Callback):
    """Has a training leave, or break, at the given batch of all (from 0) or of a validation at the
    given step.
    """

    def __init__(self, *, batch: int = -1, validation: int = -1, breaks: bool = False) -> None:
        self.batch, self.validation, self.breaks = batch, validation, breaks

    def _act(self, trainer: Trainer) -> None:
        if self.breaks:
            raise Interrupted
        [control] = [each for each in trainer.callbacks if isinstance(each, StepControl)]  # type: ignore[attr-defined]
        control.request_stop(Interrupted())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop.total_batch_idx == self.batch:
            self._act(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.global_step == self.validation:
            self._act(trainer)


def test_leaves_at_the_next_border_and_repeats_no_validation(
    config: dict[str, Any], tmp_path: Path
) -> None:
    whole = train(config, tmp_path / "whole", every_steps=None)
    per_epoch = whole.trainer.global_step // 2
    places = {
        "in the midst of a step": (Cut(batch=2), 2, False),
        "before a validation": (Cut(batch=whole.trainer.num_training_batches - 1), per_epoch, True),
        "in a validation": (Cut(validation=per_epoch), per_epoch, True),
        "in a validation that fails": (Cut(validation=per_epoch, breaks=True), per_epoch, True),
        "in the last validation": (Cut(validation=2 * per_epoch), 2 * per_epoch, True),
    }
    for place, (cut, step, due) in places.items():
        folder = tmp_path / place
        first = train(config, folder, cut, every_steps=None, keep_last=1)
        found = find_newest_checkpoint(folder).path
        assert found is not None, place
        assert {
            key: read_checkpoint_description(found)[key] for key in ("step", "due", "ended")
        } == {
            "step": step,
            "due": due,
            "ended": False,
        }
        rest = train(config, folder, begin=found, every_steps=None, keep_last=1)
        assert_goes_on(whole, rest, logged=first.points.points)


def test_a_step_that_breaks_is_not_written(config: dict[str, Any], tmp_path: Path) -> None:
    made = train(
        config, tmp_path / "kept", Cut(batch=6, breaks=True), keep=None, keep_last=1, every_steps=2
    )
    assert steps(tmp_path / "kept") == [2]
    assert (
        made.keeper.unsaved_reason
        == "optimizer step 4 was cut off in its midst: the last checkpoint is step=2.ckpt"
    )


def test_data_that_break_leave_a_checkpoint(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(config, tmp_path / "whole", every_steps=None)
    sound, asked = BatchDataset.__getitem__, iter(range(100))

    def broken(source: BatchDataset, key: Any) -> Any:
        if source._settings["training"] and next(asked) == 4:
            raise Interrupted
        return sound(source, key)

    with monkeypatch.context() as patched:
        patched.setattr(BatchDataset, "__getitem__", broken)
        train(config, tmp_path / "cut", every_steps=None)
    assert steps(tmp_path / "cut") == [2]
    rest = train(
        config,
        tmp_path / "cut",
        begin=find_newest_checkpoint(tmp_path / "cut").path,
        every_steps=None,
    )
    assert_goes_on(whole, rest, logged=2)


def test_training_that_was_over_stays_so(composed: Compose, tmp_path: Path) -> None:
    stopping = (*ACCUMULATING[:-3], "callbacks.early_stopping.patience=1", "model.optim.lr=1e-12")
    config = composed(*stopping, f"data.cache={tmp_path}/cache", "trainer.max_epochs=9")
    whole = train(config, tmp_path / "whole", every_steps=None, keep_last=1)
    # stopped early
    assert whole.trainer.current_epoch < 8
    [newest, *_] = find_newest_checkpoint(tmp_path / "whole")
    assert newest is not None
    assert read_checkpoint_description(newest)["ended"]
    again = train(config, tmp_path / "whole", begin=newest, every_steps=None, keep_last=1)
    assert not again.points.points and not again.seen.batches
    assert_goes_on(whole, again, logged=whole.points.points)
    assert {
        key: float(value) for key, value in again.trainer.callback_metrics.items()
    } == again.keeper._validation_metrics
    assert again.keeper.best_model_path == whole.keeper.best_model_path != ""


def test_a_fork_has_its_own_schedule_and_goes_on(
    composed: Compose, config: dict[str, Any], tmp_path: Path
) -> None:
    whole = train(config, tmp_path / "whole", every_steps=None, keep_last=1)
    end = whole.trainer.global_step
    longer = composed(
        *ACCUMULATING, f"data.cache={tmp_path}/cache", "trainer.max_epochs=3", "model.optim.lr=2e-3"
    )
    begin = begun_at(tmp_path / "whole", tmp_path / "fork", end)
    fork = train(longer, tmp_path / "fork", begin=begin, forking=True, keep_last=1)
    straight = train(longer, tmp_path / "straight", every_steps=None)
    of_rates = lambda made: {
        at: value for at, value in made.points.after(end).items() if at[0] == "train/lr"
    }
    assert of_rates(fork) == of_rates(straight) != {}
    assert fork.seen.batches == straight.seen.batches[-len(fork.seen.batches) :]
    # two epochs at other rates
    assert not same(fork.module.state_dict(), straight.module.state_dict())
    # only its own are kept
    assert end not in steps(tmp_path / "fork")


def test_what_cannot_go_on_is_refused(
    composed: Compose, config: dict[str, Any], tmp_path: Path
) -> None:
    train(config, tmp_path / "whole", Cut(batch=2), every_steps=None)
    begin = find_newest_checkpoint(tmp_path / "whole").path
    for override, words in {
        "data.batching.batch_tokens=280": "the batches are not those of the checkpoint",
        "data.seed=5": "the batches are not those of the checkpoint",
        "trainer.limit_batches=4": r"an epoch has 4 batches, but had \d+",
        "trainer.accumulate_grad_batches=3": "accumulate_grad_batches=3, but the checkpoint's "
        "steps were made of 2",
    }.items():
        other = composed(*ACCUMULATING, f"data.cache={tmp_path}/cache", override)
        with pytest.raises(UserError, match=words):
            train(other, tmp_path / "whole", begin=begin)


# -- what is kept


class Told:
    """Takes the place of a run's record."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.ties = CheckpointHooks(
            description={"run_id": "abc"},
            persist=lambda: self.events.append(("persist", None)),
            mirror=lambda folder, name: self.events.append((name, steps(folder))),
            tag=lambda key, words: self.events.append((key, words)),
        )


def test_the_best_and_the_last_are_kept_and_mirrored(
    composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed(
        *ACCUMULATING,
        f"data.cache={tmp_path}/cache",
        "trainer.max_epochs=null",
        "trainer.max_steps=6",
        "trainer.val_check_steps=1",
    )
    losses = iter([0.5, 0.25, 0.375, float("nan"), 0.75, 0.25])
    real = LightningModule.log_dict

    def log_dict(module: Any, values: dict[str, float], **options: Any) -> None:
        real(
            module,
            {**values, **({"val/loss": next(losses)} if "val/loss" in values else {})},
            **options,
        )

    monkeypatch.setattr("src.model.module.EncoderModule.log_dict", log_dict)
    monkeypatch.setattr(
        "lightning.pytorch.callbacks.EarlyStopping.on_validation_end", lambda *arguments: None
    )
    told = Told()
    made = train(config, tmp_path / "kept", keep=2, keep_last=1, every_steps=2, hooks=told.ties)
    assert steps(tmp_path / "kept") == [2, 6]
    assert made.keeper._retention.best == {"step=2.ckpt": 0.25, "step=6.ckpt": 0.25}
    # of two equals the older one
    assert Path(made.keeper.best_model_path).name == "step=2.ckpt"
    mirrored = [held for kind, held in told.events if kind == "checkpoints"]
    assert mirrored == [[1], [1, 2], [2, 3], [2, 3, 4], [2, 6]]
    assert [kind for kind, _ in told.events[:2]] == ["persist", "checkpoints"]
    assert read_checkpoint_description(tmp_path / "kept" / "step=6.ckpt")["run_id"] == "abc"


def test_time_has_the_last_written(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(Callback):
        seconds = 0.0

        def on_train_batch_start(self, *arguments: Any) -> None:
            self.seconds += 20.0

    clock = Clock()
    monkeypatch.setattr(keeping, "time", SimpleNamespace(monotonic=lambda: clock.seconds))
    train(
        config, tmp_path / "kept", clock, keep=None, keep_last=50, every_steps=None, every_minutes=1
    )
    # 40 seconds a step
    assert steps(tmp_path / "kept") == [2, 4, 6]


def test_nothing_is_kept_where_nothing_is_asked_for(config: dict[str, Any], tmp_path: Path) -> None:
    made = train(config, tmp_path / "kept", keep=None, keep_last=None)
    assert made.keeper.best_model_path == made.keeper.last_model_path == ""
    assert not (tmp_path / "kept").exists()


def test_a_monitor_that_is_not_measured(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"monitor=val/f2 is not among .*: val/accuracy, val/f1_macro, val/loss"
    ):
        train(config, tmp_path / "kept", monitor="val/f2")


# -- a disk that refuses


def full(monkeypatch: pytest.MonkeyPatch, refused: Iterator[bool]) -> None:
    sound = keeping.write_checkpoint

    def write(state: Any, path: Path, **options: Any) -> None:
        if next(refused):
            raise OSError(errno.ENOSPC, "No space left on device")
        sound(state, path, **options)

    monkeypatch.setattr(keeping, "write_checkpoint", write)


def test_a_full_disk_ends_no_training(
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = train(config, tmp_path / "whole", every_steps=None)
    full(monkeypatch, iter([False, True, True, *[False] * 20]))
    told = Told()
    made = train(config, tmp_path / "full", keep_last=1, hooks=told.ties)
    assert same(whole.module.state_dict(), made.module.state_dict())
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert said == [
        "warning: the checkpoint of optimizer step 2 could not be written: [Errno 28] No space "
        "left on device "
        "(the last one is step=1.ckpt)"
    ]
    assert ("checkpoint_error", said[0].partition(": ")[2]) in told.events
    # there was room again
    assert made.keeper.unsaved_reason is None
    newest = find_newest_checkpoint(tmp_path / "full").path
    assert (
        newest is not None
        and parse_checkpoint_step(newest) == whole.trainer.global_step
        and find_checkpoint_damage(newest) is None
    )


def test_a_training_that_could_write_nothing_fails(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full(monkeypatch, iter([True] * 50))
    with pytest.raises(
        OSError, match=r"optimizer step \d+ could not be written.*there is no checkpoint at all"
    ):
        train(config, tmp_path / "full")


def test_a_best_checkpoint_that_is_lost_is_forgotten(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole: Training = train(config, tmp_path / "whole", every_steps=1)
    best = Path(whole.keeper.best_model_path)
    begin = begun_at(tmp_path / "whole", tmp_path / "on", whole.trainer.global_step - 1)
    lost = tmp_path / "on" / next(iter(read_checkpoint_description(begin)["best"]))
    lost.write_bytes(best.read_bytes()[:1000])
    told = Told()
    train(config, tmp_path / "on", begin=begin, keep_last=1, hooks=told.ties)
    assert any(
        lost.name in words and "is lost: it was cut short" in words for _, words in told.events[:1]
    )
    assert (
        torch.load(find_newest_checkpoint(tmp_path / "on").path, weights_only=True)["global_step"]
        == whole.trainer.global_step
    )  # type: ignore[arg-type]
