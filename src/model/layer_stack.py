"""Where the layers and the embeddings of a network's body are, in any family of transformers: for
freezing, for learning rates by depth, and for counting operations.
"""

from collections import defaultdict
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from src.core.user_errors import UserError
from src.model.encoder_families import EMBEDDING_MODULES


def find_body_prefix(network: PreTrainedModel) -> str:
    """How the names of the body's parameters begin in a network. T5 with its decoder's output layer
    is its own body, which transformers names by a module that it lacks.
    """
    return "" if network.base_model is network else f"{network.base_model_prefix}."


def find_layers(body: nn.Module, family: str) -> dict[str, nn.Module]:
    """The transformer layers by their names in the body, lowest first; of an encoder-decoder the
    decoder's come after the encoder's. ALBERT's one shared layer is listed once.

    They are the modules of the outermost lists, of which a part of the body has one.

    Raises UserError if there is no such list, or if layers are made of parts in several lists.
    """
    lists: dict[str, list[str]] = defaultdict(list)
    found: dict[str, nn.Module] = {}

    def walk(module: nn.Module, name: str) -> None:
        for child_name, child in module.named_children():
            path = f"{name}.{child_name}".lstrip(".")
            if isinstance(child, nn.ModuleList) and len(child):
                lists[name].append(path)
                found.update(_list_items(child, path))
            else:
                walk(child, path)

    walk(body, "")
    if not found or any(len(paths) > 1 for paths in lists.values()):
        raise UserError(
            f"the layers of the family '{family}' are not known to this program, so they cannot be "
            "frozen or trained one by one (model.freeze, model.optim.layer_decay)"
        )
    return found


def _list_items(modules: nn.ModuleList, name: str) -> dict[str, nn.Module]:
    """The layers of a list by name, also of one that is divided into blocks."""
    items: dict[str, nn.Module] = {}
    for number, module in enumerate(modules):
        path = f"{name}.{number}"
        items |= _list_items(module, path) if isinstance(module, nn.ModuleList) else {path: module}
    return items


def find_embeddings(body: nn.Module, layers: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """The modules below the first layer by their names in the body."""
    named: dict[str, Any] = dict(body.named_modules())
    if known := {name: named[name] for name in EMBEDDING_MODULES if name in named}:
        return known
    found: dict[str, nn.Module] = {}

    def walk(module: nn.Module, name: str) -> None:
        for child_name, child in module.named_children():
            path = f"{name}.{child_name}".lstrip(".")
            if any(layer == path or layer.startswith(f"{path}.") for layer in layers):
                if path not in layers:
                    walk(child, path)
            elif any(isinstance(part, nn.Embedding) for part in child.modules()):
                found[path] = child

    walk(body, "")
    return found
