"""The network that a folder's config.json makes, without values, and so in milliseconds: what it
refuses is known before any weights are read.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from src.core.pretrained_files import list_weight_files
from src.core.user_errors import UserError
from src.model.model_classes import HeadType, find_model_class
from src.model.stored_encoder import load_encoder_config
from src.model.stored_shapes import check_stored_shapes

# of config.json
_SIZE_KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)


def build_bare_network(
    folder: Path,
    settings: Mapping[str, Any],
    head: HeadType,
    key: str,
    change_config: Callable[[PreTrainedConfig], object],
) -> PreTrainedModel:
    """That network, on torch's `meta` device.

    Args:
        settings: the entries of config.json.
        head: what the network is for.
        key: the config key that names the folder, for messages.
        change_config: writes into the config what is asked for in place of what is stored.

    Raises:
        UserError: transformers makes no network of it, or one of other shapes than the weights
            there.
    """
    for name in _SIZE_KEYS:
        value = settings.get(name)
        # -1 stands for no limit in some families
        least = -1 if name == "max_position_embeddings" and value != 0 else 1
        if isinstance(value, int) and value < least:
            raise UserError(
                f"{name}={value}, expected 1 or more", where=folder / "config.json", key=key
            )
    config = load_encoder_config(str(folder), head, key)
    change_config(config)
    try:
        with torch.device("meta"):
            network: PreTrainedModel = find_model_class(head, config.model_type).from_config(config)
    except Exception as error:
        # the library raises errors of any kind over values of a wrong type or size
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if isinstance(error, KeyError):
            reason = f"{reason} is unknown"
        raise UserError(
            f"no encoder can be made by its values: {reason}",
            where=folder / "config.json",
            key=key,
        ) from error
    check_stored_shapes(network, list_weight_files(folder, key), key)
    return network
