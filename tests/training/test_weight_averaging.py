"""Averaged weights: their values, what is validated and stored, and how they go on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.testing import assert_close

from src.training.callbacks import WeightAveraging
from src.training.checkpoint_files import CheckpointHooks
from tests.training.small_trainings import LABELLED, Compose, begun_at, same, train

NAME = "encoder.network.classifier.weight"
SHORT = (*LABELLED, "trainer.max_epochs=2", "trainer.val_check_steps=3")


class Watch(Callback):
    """The weights of the optimizer after each step, and those that each validation saw."""

    def __init__(self) -> None:
        self.trained: dict[int, Tensor] = {}
        self.validated: dict[int, Tensor] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.trained[trainer.global_step] = pl_module.state_dict()[NAME].clone()

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, *unused: Any
    ) -> None:
        self.validated[trainer.global_step] = pl_module.state_dict()[NAME].clone()


def average(method: str, states: list[Tensor], decay: float) -> Tensor:
    """By the definition: a mean, or a sum whose weights fall by `decay` with age."""
    if method == "swa":
        return torch.stack(states).mean(0)
    result = states[0]
    for state in states[1:]:
        result = decay * result + (1 - decay) * state
    return result


@pytest.mark.parametrize(
    ("method", "start", "first"), [("ema", 0.0, 1), ("swa", 0.5, 6)], ids=["ema", "swa"]
)
def test_the_averages_are_validated_stored_and_gone_on_with(
    method: Any,
    start: float,
    first: int,
    composed: Compose,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tags: dict[str, str] = {}
    hooks = CheckpointHooks(tag=lambda key, value: tags.update({key: value}))

    def averaging() -> Callback:
        config = WeightAveraging(method=method, decay=0.6, start_fraction=start)
        return config.build(tmp_path, hooks)[0]

    config = composed(*SHORT, f"data.cache={tmp_path}/cache")
    watch = Watch()
    whole = train(config, tmp_path / "whole", averaging(), watch, hooks=hooks)
    plain = train(config, tmp_path / "plain", other := Watch())
    last = whole.trainer.global_step
    assert whole.module.total_steps == last and max(1, round(start * last)) == first
    # the averages do not touch the training
    assert_close(watch.trained, other.trained, atol=0, rtol=0)
    assert len(watch.validated) > 2
    for step, seen in watch.validated.items():
        states = [state for at, state in watch.trained.items() if first <= at <= step]
        expected = average(method, states, 0.6) if states else watch.trained[step]
        assert_close(seen, expected)
        state = torch.load(tmp_path / "whole" / f"step={step}.ckpt", weights_only=True)
        assert_close(state["state_dict"][NAME], expected)
    # what is tested where no checkpoint is kept
    assert_close(whole.module.state_dict()[NAME], watch.validated[last])
    assert plain.points.points != whole.points.points
    step = first + 2
    rest = train(
        config,
        tmp_path / "rest",
        averaging(),
        begin=begun_at(tmp_path / "whole", tmp_path / "rest", step),
        hooks=hooks,
    )
    assert same(rest.module.state_dict(), whole.module.state_dict())
    assert same(rest.trainer.optimizers[0].state_dict(), whole.trainer.optimizers[0].state_dict())
    assert rest.points.points == whole.points.after(step)
    said = {"ema": "ema, decay 0.6, from step 1", "swa": f"swa, all alike, from step {first}"}
    assert tags["weight_averaging"] == said[method]
    assert f"weights are averaged ({said[method]}): validation, test and" in capsys.readouterr().out
