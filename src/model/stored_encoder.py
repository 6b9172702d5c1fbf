"""Encoders that lie in a folder or on the hub."""

from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

from src.core.pretrained_files import load_from_hub_or_folder
from src.model import text_pooling
from src.model.encoder import Encoder
from src.model.encoder_families import check_encoder_config
from src.model.model_classes import HeadType, find_model_class


def load_encoder_config(
    name_or_path: str, head: HeadType, key: str, revision: str | None = None
) -> PreTrainedConfig:
    """The config of an encoder in a folder or on the hub. Raises UserError if it cannot be loaded,
    which names `key`, or if the encoder cannot have the head.
    """
    config: PreTrainedConfig = load_from_hub_or_folder(
        AutoConfig.from_pretrained, name_or_path, key=key, revision=revision
    )
    check_encoder_config(config, find_model_class(head, config.model_type))
    # it may name a kernel on the hub, whose code would be fetched and run
    config._attn_implementation = None
    # what a forward returns beside its result is nobody's concern here, and such a config could not
    # be saved again: transformers refuses it for the attention that it then has
    config.output_attentions = config.output_hidden_states = False
    return config


def load_encoder(folder: Path | str, head: HeadType, key: str = "run") -> Encoder:
    """The encoder that lies in a folder or on the hub, with its trained head; `key` names it in
    messages.
    """
    config = load_encoder_config(str(folder), head, key)
    network = load_from_hub_or_folder(
        find_model_class(head, config.model_type).from_pretrained,
        str(folder),
        key=key,
        config=config,
    )
    encoder = Encoder(network, head)
    text_pooling.load_pooling_weights(network, Path(folder))
    return encoder
