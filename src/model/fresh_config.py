"""The configs of transformers for fresh encoders: sizes, special tokens and dropout under the names
that each family has for them.
"""

from typing import TYPE_CHECKING, Any

from src.core.dataset_info import DatasetInfo
from src.model.encoder_families import find_dropout_names

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from src.model.encoder_config import Scratch


def build_fresh_config(
    encoder: "Scratch", dataset_info: DatasetInfo, labels: dict[str, Any]
) -> "PreTrainedConfig":
    """The config of a network with the sizes of a config node.

    Args:
        labels: entries that describe a head for labels.
    """
    from transformers import AutoConfig

    config: PreTrainedConfig = AutoConfig.for_model(
        encoder.family,
        vocab_size=dataset_info.vocab_size,
        pad_token_id=dataset_info.pad_id,
        **_size_settings(encoder),
        **_special_token_ids(encoder.family, dataset_info),
        **labels,
    )
    set_dropout(config, encoder.dropout)
    return config


def _size_settings(encoder: "Scratch") -> dict[str, Any]:
    inner = encoder.intermediate or 4 * encoder.width
    if encoder.family == "bart":
        sides = {"layers": encoder.layers, "attention_heads": encoder.heads, "ffn_dim": inner}
        return {
            "d_model": encoder.width,
            "max_position_embeddings": encoder.max_tokens,
            **{
                f"{side}_{name}": size
                for side in ("encoder", "decoder")
                for name, size in sides.items()
            },
        }
    if encoder.family == "t5":
        return {
            "d_model": encoder.width,
            "num_layers": encoder.layers,
            "num_heads": encoder.heads,
            "d_kv": encoder.width // encoder.heads,
            "d_ff": inner,
        }
    return {
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.layers,
        "num_attention_heads": encoder.heads,
        "intermediate_size": inner,
        "max_position_embeddings": encoder.max_tokens,
        # else 128, whatever the width is
        **({"embedding_size": encoder.width} if encoder.family == "electra" else {}),
        **({"n_inner": encoder.intermediate} if encoder.family == "gpt2" else {}),
    }


def _special_token_ids(family: str, dataset_info: DatasetInfo) -> dict[str, Any]:
    # whose defaults lie beyond small vocabularies
    families = {"modernbert": ("bos", "eos", "cls", "sep"), "gpt2": ("bos", "eos")}
    if family in families:
        return {f"{name}_token_id": dataset_info.pad_id for name in families[family]}
    end_id = dataset_info.end_id
    if family == "t5":
        return {"eos_token_id": end_id, "decoder_start_token_id": dataset_info.pad_id}
    if family == "bart":
        names = ("eos_token_id", "forced_eos_token_id", "decoder_start_token_id")
        return {"bos_token_id": None, **dict.fromkeys(names, end_id)}
    return {}


def set_dropout(config: Any, dropout: float) -> None:
    """Have a network drop this share everywhere inside."""
    for name in find_dropout_names(config):
        setattr(config, name, dropout)
