"""The head of a pretrained classifier under the labels of new data."""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

# what transformers calls labels that nobody has named
_UNNAMED = re.compile(r"label_\d+")


def match_label_names(stored: Mapping[int, str], wanted: Sequence[str]) -> list[int] | None:
    """The place of each wanted label among the stored ones; None if they are not the same names.

    Names are compared without case and outer blanks. Numbered stand-ins such as LABEL_0 are
    names only to data whose labels are called so too.
    """
    old = [_normalize_name(stored[place]) for place in sorted(stored)]
    new = [_normalize_name(name) for name in wanted]
    if len(set(old)) < len(old) or sorted(old) != sorted(new):
        return None
    return [old.index(name) for name in new]


def describe_labels(stored: Mapping[int, str]) -> str:
    """The labels of a head in words."""
    names = [str(stored[place]) for place in sorted(stored)]
    if all(_UNNAMED.fullmatch(_normalize_name(name)) for name in names):
        return f"{len(names)} labels without names"
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def permute_labels(network: PreTrainedModel, order: Sequence[int]) -> None:
    """Put the rows of the output layer in another order."""
    for parameter in find_output_layer(network).parameters():
        parameter.data = parameter.data[list(order)].clone()


def reset_output_layer(network: PreTrainedModel) -> None:
    """Give the output layer random weights from torch's global generator."""
    layer = find_output_layer(network)
    deviation = getattr(network.config, "initializer_range", 0.02)
    with torch.no_grad():
        layer.weight.normal_(0.0, deviation)
        if isinstance(layer.bias, Tensor):
            layer.bias.zero_()


def find_output_layer(network: PreTrainedModel) -> nn.Linear:
    """The last layer of a sequence head, which has a row for each label."""
    classifier = network.get_submodule("classifier")
    return [module for module in classifier.modules() if isinstance(module, nn.Linear)][-1]


def _normalize_name(name: object) -> str:
    return str(name).strip().casefold()
