"""The layers that lean bodies (src/model/fast_encoder.py) are made of: modules of transformers hold
the weights, and few tensors change their type.

Shape legend: T tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear


def apply_layer_norm(states: Tensor, module: nn.Module, dtype: torch.dtype) -> Tensor:
    """Layer normalisation, computed in the type of the states and returned as `dtype`."""
    if isinstance(module, nn.Identity):
        return states.to(dtype)
    assert isinstance(module, nn.LayerNorm)
    # A CPU takes fp32 weights with states of any type; elsewhere both must have the same type.
    weight_dtype = module.weight.dtype if states.device.type == "cpu" else states.dtype
    weight = module.weight.to(weight_dtype)
    bias = None if module.bias is None else module.bias.to(weight_dtype)
    shape = list(module.normalized_shape)
    return nn.functional.layer_norm(states, shape, weight, bias, module.eps).to(dtype)


def apply_linears(states: Tensor, *modules: nn.Module) -> Tensor:
    """The outputs of all modules side by side, in one product: [T, in] to [T, sum of out].

    A module that is no plain linear layer has an adapter, and more to do than its weight shows.
    """
    plain = [module for module in modules if isinstance(module, nn.Linear)]
    if len(plain) < len(modules):
        return torch.cat([_call_module(states, module) for module in modules], -1)
    dtype = states.dtype
    weight = _cast_and_concatenate([module.weight for module in plain], dtype)
    biases = [module.bias for module in plain if module.bias is not None]
    return linear(states, weight, _cast_and_concatenate(biases, dtype) if biases else None)


def _call_module(states: Tensor, module: nn.Module) -> Tensor:
    with torch.autocast(states.device.type, states.dtype, enabled=states.dtype != torch.float32):
        return module(states)


def apply_linear_rows(states: Tensor, module: nn.Module, rows: slice) -> Tensor:
    """Some of a module's outputs, those of these rows of its weight: [T, in] to [T, rows]."""
    if not isinstance(module, nn.Linear):
        return _call_module(states, module)[:, rows]
    dtype = states.dtype
    bias = None if module.bias is None else module.bias[rows].to(dtype)
    return linear(states, module.weight[rows].to(dtype), bias)


def embed_ids(ids: Tensor, module: nn.Embedding) -> Tensor:
    """[T] to [T, width]. The padding's row is not learnt, even if a text names that token."""
    return embedding(ids, module.weight, module.padding_idx)


def _cast_and_concatenate(parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    return parts[0].to(dtype) if len(parts) == 1 else torch.cat([part.to(dtype) for part in parts])
