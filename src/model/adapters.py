"""Adapters in an encoder, made by `peft`: what they are put beside, what is trained, how they are
added into the weights, and how a checkpoint does without the frozen ones.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from src.core.notices import Notices
from src.core.user_errors import UserError, format_suggestion
from src.model.adapter_config import ADAPTER_KEY, Lora
from src.model.layer_stack import find_body_prefix

if TYPE_CHECKING:
    from src.model.encoder import Encoder

# of a checkpoint
DIGEST_KEY = "frozen_digest"


def add_lora(encoder: "Encoder", config: Lora) -> None:
    """Put low-rank adapters beside linear layers of the body, in place, and freeze the rest of it.

    Trained are the adapters, everything outside of the body, a pooler (which is the head's first
    layer), and parameters that begin random. Embeddings that were grown by rows for new tokens are
    trained whole.

    Raises UserError if a target is not the name of a linear layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    network = encoder.network
    loaded = encoder.loaded_weights
    fresh = set(loaded.fresh) if loaded is not None else set()
    if loaded is not None and loaded.added_tokens:
        grown = network.get_input_embeddings().weight
        fresh |= {name for name, weight in network.named_parameters() if weight is grown}
    body = find_body_prefix(network)
    trained = [
        weight
        for name, weight in network.named_parameters()
        if name in fresh or not name.startswith(body) or name.startswith(f"{body}pooler")
    ]
    targets = _find_targets(encoder, config)
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        use_dora=config.use_dora,
        use_rslora=config.use_rslora,
        # whole names: an ending such as `dense` would stand for layers of the head too
        target_modules=targets,
        # such a layer keeps its weight the other way round
        fan_in_fan_out=all(isinstance(network.get_submodule(name), Conv1D) for name in targets),
    )
    inject_adapter_in_model(settings, network)
    for weight in trained:
        weight.requires_grad_(True)


def _find_targets(encoder: "Encoder", config: Lora) -> list[str]:
    """The names, in the network, of the linear layers that adapters are put beside."""
    names = {module: name for name, module in encoder.network.named_modules()}
    linear = {
        names[module]: names[module].rpartition(".")[2]
        for layer in encoder.get_layers()
        for module in layer.modules()
        # GPT-2 and its like have linear layers of transformers' own
        if isinstance(module, nn.Linear | Conv1D)
    }
    if not linear or config.target_modules == []:
        raise UserError(
            f"there is no linear layer of '{encoder.config.model_type}' to put an adapter beside",
            key=ADAPTER_KEY,
            hint=f"{ADAPTER_KEY}.target_modules=null takes all" if linear else "{key}=null fits",
        )
    if config.target_modules is None:
        return list(linear)
    known = sorted(set(linear.values()))
    for wanted in config.target_modules:
        if wanted not in known:
            raise UserError(
                f"the layers of '{encoder.config.model_type}' have no linear layer of this name",
                key=f"{ADAPTER_KEY}.target_modules",
                value=wanted,
                hint=format_suggestion(wanted, known),
            )
    return [name for name, ending in linear.items() if ending in config.target_modules]


def scale_rates(optim: Any, adapter: Lora | None) -> Any:
    """An optimizer's config with the learning rates that an adapter wants."""
    if adapter is None:
        return optim
    rates = {name: getattr(optim, name, None) for name in ("lr", "head_lr")}
    return replace(
        optim,
        **{name: rate * adapter.lr_factor for name, rate in rates.items() if rate is not None},
    )


def describe_adapter(encoder: "Encoder", adapter: Lora | None) -> Notices:
    """What should be known of how an encoder's weights were loaded, and of its adapters."""
    notices = encoder.describe_loading()
    if adapter is None:
        return notices
    said = (
        f"LoRA of rank {adapter.rank} at {len(_find_adapted_layers(encoder.network))} linear "
        f"layers: {int(notices.tags['model/trained']):,} of "
        f"{int(notices.tags['model/parameters']):,} parameters are trained, at "
        f"{adapter.lr_factor:g} times the learning rates of model.optim"
    )
    return Notices((*notices.lines, said), {**notices.tags, "model/adapter": said})


def _find_adapted_layers(network: nn.Module) -> dict[str, Any]:
    # A layer that is not adapted has no base layer; peft is not imported where nothing is.
    return {name: module for name, module in network.named_modules() if hasattr(module, "lora_A")}


def merge_adapters(network: nn.Module) -> None:
    """Add the adapters into the weights, in place, so that nothing of them is left but what they
    have learnt. A network without adapters stays as it is.
    """
    for name, layer in _find_adapted_layers(network).items():
        layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, layer.get_base_layer())
    vars(network).pop("peft_config", None)


def find_frozen_names(module: nn.Module) -> list[str]:
    """The names of the parameters that are not trained; tied ones have several."""
    return [
        name
        for name, weight in module.named_parameters(remove_duplicate=False)
        if not weight.requires_grad
    ]


def compute_frozen_digest(module: nn.Module) -> str:
    """A digest of names, shapes and values of the parameters that are not trained."""
    digest = hashlib.sha256()
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name in sorted(find_frozen_names(module)):
        value = parameters[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def drop_frozen(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A module's state without the parameters that are not trained."""
    frozen = set(find_frozen_names(module))
    return {name: value for name, value in state.items() if name not in frozen}


def restore_frozen(
    module: nn.Module, checkpoint: Mapping[str, Any], digest: str
) -> dict[str, Tensor]:
    """The whole state of a module from a checkpoint that `drop_frozen` has made smaller.

    Args:
        digest: of the module's own frozen parameters, which are taken.

    Raises:
        UserError: the checkpoint was trained on others.
    """
    if checkpoint.get(DIGEST_KEY) != digest:
        raise UserError(
            "the weights there are not those that the checkpoint's adapters were trained on "
            f"(digest {checkpoint.get(DIGEST_KEY)}, now {digest})",
            key="model.encoder.name_or_path",
            hint="put the earlier ones back: a checkpoint holds the adapters and not the body",
        )
    own = module.state_dict()
    return {name: own[name] for name in find_frozen_names(module)} | checkpoint["state_dict"]
