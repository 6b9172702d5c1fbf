"""Gradual unfreezing: the body's layers join the training one after the other, from the top."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from src.core.printing import print_line
from src.core.user_errors import UserError


class GradualUnfreezingCallback(Callback):
    """Thaws layers as `src.training.callbacks.GradualUnfreezing` describes.

    What is frozen follows from the optimizer step alone, so a training that goes on from a
    checkpoint has the same layers frozen.
    """

    def __init__(self, *, every_steps: int) -> None:
        self._every_steps = every_steps
        # number of groups that are still frozen; None: not yet set
        self._frozen_count: int | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        key = "callbacks.gradual_unfreezing"
        if trainer.world_size > 1:
            raise UserError(
                "several devices agree on the trained weights before the first step",
                key=key,
                hint="trainer.devices=1 or {key}=null fits",
            )
        if module.config.adapter is not None or module.config.freeze not in ("nothing", 0):
            raise UserError(
                "model.freeze and model.adapter leave a part of the body frozen for good",
                key=key,
                hint="{key}=null, or model.freeze=nothing model.adapter=null, fits",
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        module: Any = pl_module
        # the embeddings and the layers above them, lowest first
        groups = [module.encoder.get_embedding_modules()]
        groups += [[layer] for layer in module.encoder.get_layers()]
        count = max(0, len(groups) - trainer.global_step // self._every_steps)
        if count == self._frozen_count:
            return
        self._frozen_count = count
        for number, group in enumerate(groups):
            for part in group:
                part.requires_grad_(number >= count)
        module.set_frozen_modules([part for group in groups[:count] for part in group])
        if trainer.is_global_zero:
            frozen = f"{count} of {len(groups)} parts of the body are frozen"
            print_line(f"step {trainer.global_step}: {frozen if count else 'all weights learn'}")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        module.encoder.requires_grad_(True)
        module.set_frozen_modules([])
