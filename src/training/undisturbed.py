"""A forward pass beside the training, which goes on afterwards as if there had been none."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import LightningModule, Trainer

from src.training.training_state import get_rng_state, set_rng_state


@contextmanager
def undisturbed_evaluation(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """The module is in eval mode, in the precision of the training and without gradients inside of
    this. Its mode and all generators of random numbers are put back after it: some networks draw
    in a forward pass even then.
    """
    was_training, state = module.training, get_rng_state(module.device)
    module.eval()
    try:
        # not in inference mode: what a network keeps from there could not be trained with
        with torch.no_grad(), trainer.precision_plugin.val_step_context():
            yield
    finally:
        module.train(was_training)
        set_rng_state(state, module.device)
