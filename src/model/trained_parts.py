"""What a model's config does with its encoder before training: which weights are frozen, which are
added, and how the rest is updated.

`check_network` does the same with a network that has no weights, in milliseconds, so that what an
encoder refuses is known before a run opens.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from src.model import adapters
from src.model.encoder import Encoder
from src.model.encoder_families import check_dropout
from src.model.layer_stack import find_body_prefix
from src.model.optim import Muon
from src.model.pretrained_weights import LoadedWeights
from src.model.reinit_layers import REINIT_KEY, reinit_top_layers

if TYPE_CHECKING:
    from src.model.model_config import ModelConfig


def choose_trained_parts(encoder: Encoder, config: "ModelConfig") -> list[nn.Module]:
    """Freeze parts of an encoder and put adapters beside others, in place; returns the frozen
    modules, which must stay in eval mode.

    Raises:
        UserError: the encoder's family cannot do what the config wants.
    """
    encoder.set_gradient_checkpointing(config.gradient_checkpointing)
    frozen = []
    if config.freeze not in ("nothing", 0):
        frozen = encoder.freeze_modules(config.freeze)
    if config.adapter is not None:
        adapters.add_lora(encoder, config.adapter)
    return frozen


def build_optimizer(encoder: Encoder, config: "ModelConfig", *, total_steps: int) -> Any:
    """The optimizer of what is trained of an encoder, and its schedule.

    Raises:
        UserError: the config wants rates by depth of layers that are not known, or there is
            nothing for the optimizer to train.
    """
    optim = adapters.scale_rates(config.optim, config.adapter)
    has_one_rate = getattr(config.optim, "layer_decay", 1.0) == 1.0
    body = f"network.{find_body_prefix(encoder.network)}"

    def count_depth(name: str) -> int:
        if has_one_rate and not encoder.knows_layers:
            return int(name.startswith(body))
        return encoder.count_layers_above(name)

    return optim.build(encoder, depth=count_depth, total_steps=total_steps)


def check_network(network: PreTrainedModel, config: "ModelConfig") -> None:
    """Raise UserError for what the family or the size of an encoder refuses, where a config asks
    for it.

    Args:
        network: as its config.json makes it, on torch's `meta` device.
    """
    encoder = Encoder(network, config.objective.head)
    encoder.uses_fast_path = encoder.uses_fast_path and config.lean
    encoder.check_direction()
    if getattr(config.objective, "mixup", None):
        encoder.check_text_vectors()
    if r_drop := getattr(config.objective, "r_drop", None):
        check_dropout(encoder.config, "model.objective.r_drop", r_drop)
    encoder.loaded_weights = LoadedWeights("")
    reinit_layers = getattr(config.encoder, "reinit_layers", None)
    with torch.device("meta"):
        if reinit_layers is not None:
            reinit_top_layers(encoder, reinit_layers, REINIT_KEY)
        choose_trained_parts(encoder, config)
        if config.regularization is not None:
            config.regularization.build(encoder)
        if isinstance(config.optim, Muon):
            build_optimizer(encoder, config, total_steps=1)
    if getattr(config.optim, "layer_decay", 1.0) != 1.0:
        encoder.get_layers()
