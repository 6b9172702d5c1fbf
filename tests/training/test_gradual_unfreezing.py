"""Layers that join the training one after the other, from the top."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer

from src.core.user_errors import UserError
from src.training.callbacks import GradualUnfreezing
from tests.training.small_trainings import LABELLED, Compose, assert_goes_on, begun_at, train

TWO_LAYERS = (*LABELLED, "model.encoder.layers=2", "trainer.max_epochs=2")
PARTS = {
    "embeddings": "bert.embeddings.word_embeddings.weight",
    "layer 0": "bert.encoder.layer.0.output.dense.weight",
    "layer 1": "bert.encoder.layer.1.output.dense.weight",
    "head": "classifier.weight",
}


class Moved(Callback):
    """The parts of the network that each step has changed."""

    def __init__(self) -> None:
        self.moved: list[list[str]] = []
        self._before: dict[str, Any] = {}

    def _weights(self, module: Any) -> dict[str, Any]:
        state = module.encoder.network.state_dict()
        return {part: state[name].clone() for part, name in PARTS.items()}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._before = self._weights(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        after = self._weights(pl_module)
        self.moved.append([part for part in PARTS if not after[part].equal(self._before[part])])


def unfreezing() -> Callback:
    return GradualUnfreezing(every_steps=2).build(Path())[0]


def test_a_layer_joins_after_every_second_step_and_a_resumed_training_has_the_same_ones(
    composed: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = composed(*TWO_LAYERS, f"data.cache={tmp_path}/cache")
    moved = Moved()
    whole = train(config, tmp_path / "whole", unfreezing(), moved)
    parts = list(PARTS)
    assert moved.moved[:8] == [parts[3:]] * 2 + [parts[2:]] * 2 + [parts[1:]] * 2 + [parts] * 2
    said = capsys.readouterr().out
    assert "step 0: 3 of 3 parts of the body are frozen" in said
    assert "step 6: all weights learn" in said
    folder = tmp_path / "rest"
    rest = train(config, folder, unfreezing(), begin=begun_at(tmp_path / "whole", folder, 3))
    assert_goes_on(whole, rest, logged=3)


def test_it_is_refused_where_a_part_is_frozen_for_good(composed: Compose, tmp_path: Path) -> None:
    config = composed(*TWO_LAYERS, "model.freeze=1", f"data.cache={tmp_path}/cache")
    with pytest.raises(UserError, match="frozen for good"):
        train(config, tmp_path / "whole", unfreezing())
