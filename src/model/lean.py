"""Encoder bodies run without detours: the Hugging Face modules hold the weights, this file does the arithmetic.

The same logits from the same weights, so everything that is saved, loaded, frozen or given its own learning rate stays
what transformers knows; but queries, keys and values are one product, few tensors change their type, attention and
dropout are ours, and the last layer is computed only where an answer is wanted.

Shape legend: T tokens, K tokens whose answer is wanted, D width, H heads, E width of a head, F feed-forward width.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear
from torch.utils.checkpoint import checkpoint

from src.model.attention import attention, part_attention, turned
from src.model.dropout import dropout
from src.model.layout import Layout, rounded
from src.terms.batch import Tokens

GRAIN = 32  # tokens of a ragged batch on a CPU are made a multiple of this, for the reason given in src/model/layout.py
Wanted = Tensor | Literal["first"] | None  # places [K] in the flat batch; each sequence's first token; all
Layer = Callable[[Tensor, Wanted], Tensor]  # states [T, D] to [K or B or T, D]


def hidden_states(
    body: Any, family: str, tokens: Tokens, positions: Tensor, *, at: Wanted, checkpointing: bool
) -> Tensor:
    """Last hidden states of a body: of all tokens [T, D], or of those wanted alone.

    Args:
        body: the `base_model` of a network of one of `FAMILIES`.
        positions: [T], of each token among the learnt ones.
        checkpointing: keep only the states between layers for the backward pass, and compute the rest again (Chen et
            al., 2016).
    """
    device = tokens.ids.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    with torch.autocast(device, enabled=False):
        layout = Layout(tokens)
        states, layers = _BODIES[family](body, tokens, layout, positions, kind)
        if device == "cpu" and not layout.in_rows:
            states = nn.functional.pad(states, (0, 0, 0, rounded(len(states), GRAIN) - len(states)))
        for place, layer in enumerate(layers):
            wanted = at if place == len(layers) - 1 else None
            if checkpointing and torch.is_grad_enabled():
                states = checkpoint(layer, states, wanted, use_reentrant=False)
            else:
                states = layer(states, wanted)
        if at is None:
            states = states[: len(tokens.ids)]
        return norm(states, body.final_norm, kind) if hasattr(body, "final_norm") else states


def norm(states: Tensor, module: nn.Module, kind: torch.dtype) -> Tensor:
    """Layer normalisation, in the type of the states, given in `kind`."""
    if isinstance(module, nn.Identity):
        return states.to(kind)
    assert isinstance(module, nn.LayerNorm)
    # A CPU takes fp32 weights with states of any type; elsewhere both must have the same.
    own = states.dtype if states.device.type != "cpu" else module.weight.dtype
    scale, shift = module.weight.to(own), None if module.bias is None else module.bias.to(own)
    return nn.functional.layer_norm(states, list(module.normalized_shape), scale, shift, module.eps).to(kind)


def project(states: Tensor, *modules: nn.Linear) -> Tensor:
    """One product for all the modules, side by side: [T, in] to [T, sum of out]."""
    kind = states.dtype
    weight = _joined([each.weight for each in modules], kind)
    biases = [each.bias for each in modules if each.bias is not None]
    return linear(states, weight, _joined(biases, kind) if biases else None)


def _part(states: Tensor, module: nn.Linear, rows: slice) -> Tensor:
    """What some of a module's outputs are: [T, in] to [T, out of the rows]."""
    kind = states.dtype
    return linear(states, module.weight[rows].to(kind), None if module.bias is None else module.bias[rows].to(kind))


def _looked_up(ids: Tensor, module: nn.Embedding) -> Tensor:
    """[T] to [T, width]; the padding's row is not learnt, should a text name that token."""
    return embedding(ids, module.weight, module.padding_idx)


def _joined(parts: Sequence[Tensor], kind: torch.dtype) -> Tensor:
    return parts[0].to(kind) if len(parts) == 1 else torch.cat([each.to(kind) for each in parts])


# -- BERT and those that kept its body (Devlin et al., 2019; Liu et al., 2019; Clark et al., 2020) ---------------------


def _bert(
    body: Any, tokens: Tokens, layout: Layout, positions: Tensor, kind: torch.dtype
) -> tuple[Tensor, list[Layer]]:
    parts = body.embeddings
    states = _looked_up(tokens.ids, parts.word_embeddings)
    states = states + _looked_up(positions, parts.position_embeddings)
    types = parts.token_type_embeddings.weight
    if len(types) == 1 or (tokens.ids.device.type == "cpu" and not tokens.types.any()):
        states = states + types[0]
    elif len(types) == 2:  # a choice, whose gradient is two sums; a table's is gathered token by token in a GPU's row
        states = states + torch.where(tokens.types[:, None] == 0, types[0], types[1])
    else:
        states = states + embedding(tokens.types, types)
    states = dropout(norm(states, parts.LayerNorm, kind), parts.dropout)
    if hasattr(body, "embeddings_project"):
        states = project(states, body.embeddings_project)
    return states, [_bert_layer(each, layout, kind) for each in body.encoder.layer]


def _bert_layer(layer: Any, layout: Layout, kind: torch.dtype) -> Layer:
    own, after, up, down = layer.attention.self, layer.attention.output, layer.intermediate, layer.output
    heads, width, scale = own.num_attention_heads, own.attention_head_size, own.scaling
    drop = own.dropout.p if own.dropout.training else 0.0

    def run(states: Tensor, at: Wanted) -> Tensor:
        places = layout.places(at)
        if places is not None:
            kv = project(states, own.key, own.value).view(-1, 2, heads, width)
            (states,) = layout.wanted(at, states)
            query = project(states, own.query).view(-1, heads, width)
            answer = part_attention(query, kv, places, layout, scale=scale, dropout=drop)
        else:
            qkv = project(states, own.query, own.key, own.value).view(-1, 3, heads, width)
            answer = attention(qkv, layout, scale=scale, dropout=drop)
            states, answer = layout.wanted(at, states, answer)
        inner = dropout(project(answer.flatten(1), after.dense), after.dropout)
        states = norm(states + inner, after.LayerNorm, kind)
        inner = project(up.intermediate_act_fn(project(states, up.dense)), down.dense)
        return norm(states + dropout(inner, down.dropout), down.LayerNorm, kind)

    return run


# -- ModernBERT (Warner et al., 2024) ---------------------------------------------------------------------------------


def _modernbert(
    body: Any, tokens: Tokens, layout: Layout, positions: Tensor, kind: torch.dtype
) -> tuple[Tensor, list[Layer]]:
    parts = body.embeddings
    # What is added from layer to layer stays fp32: small steps on a long sum would be lost in bf16.
    states = norm(_looked_up(tokens.ids, parts.tok_embeddings), parts.norm, torch.float32)
    states = dropout(states, parts.drop)
    angles = {}
    for name in set(body.config.layer_types):
        cos, sin = body.rotary_emb(states, tokens.positions[None], name)  # [1, T, E], its halves alike
        half = cos.shape[-1] // 2
        angles[name] = (cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous())
    return states, [_modernbert_layer(each, layout, angles[each.attention_type], kind) for each in body.layers]


def _modernbert_layer(layer: Any, layout: Layout, angles: tuple[Tensor, Tensor], kind: torch.dtype) -> Layer:
    own, mlp = layer.attn, layer.mlp
    width, scale, window = own.head_dim, own.head_dim**-0.5, own.sliding_window
    drop = own.attention_dropout if own.training else 0.0

    def run(states: Tensor, at: Wanted) -> Tensor:
        normed = norm(states, layer.attn_norm, kind)
        places = layout.places(at)
        if places is not None:
            kv = _part(normed, own.Wqkv, slice(normed.shape[-1], None)).unflatten(-1, (2, -1, width))
            states, normed, cos, sin = layout.wanted(at, states, normed, *angles)
            query = _part(normed, own.Wqkv, slice(normed.shape[-1])).unflatten(-1, (-1, width))
            query = turned(query, cos[:, None], sin[:, None])
            answer = part_attention(
                query, kv, places, layout, scale=scale, dropout=drop, window=window, rotation=angles
            )
        else:
            qkv = project(normed, own.Wqkv).unflatten(-1, (3, -1, width))
            answer = attention(qkv, layout, scale=scale, dropout=drop, window=window, rotation=angles)
            states, answer = layout.wanted(at, states, answer)
        states = states + dropout(project(answer.flatten(1), own.Wo), own.out_drop)
        inner, gate = project(norm(states, layer.mlp_norm, kind), mlp.Wi).chunk(2, -1)
        return states + project(dropout(mlp.act(inner) * gate, mlp.drop), mlp.Wo)

    return run


_BODIES: dict[str, Callable[[Any, Tokens, Layout, Tensor, torch.dtype], tuple[Tensor, list[Layer]]]] = {
    **dict.fromkeys(("bert", "camembert", "electra", "roberta", "xlm-roberta"), _bert),
    "modernbert": _modernbert,
}
FAMILIES = frozenset(_BODIES)
