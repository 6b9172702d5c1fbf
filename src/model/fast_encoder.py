"""Faster forward passes for the bodies of some encoder families: the Hugging Face modules hold the
weights, this file does the arithmetic.

The same weights give the same logits, and everything that is saved, loaded, frozen or given its own
learning rate stays what transformers knows. But queries, keys and values are one product, few
tensors change their type, attention and dropout are ours, and the last layer is computed only for
the tokens whose answer is wanted.

Shape legend: T tokens, K tokens whose answer is wanted, D width, H heads, E width of a head.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding
from torch.utils.checkpoint import checkpoint

from src.core.batch import Tokens
from src.model.attention_bucket import round_up
from src.model.fast_dropout import apply_dropout_module
from src.model.fast_layers import apply_layer_norm, apply_linear_rows, apply_linears, embed_ids
from src.model.ragged_attention import apply_rotary, ragged_attention, ragged_attention_of_selected
from src.model.ragged_layout import RaggedLayout

# On a CPU, the tokens of a ragged batch are filled up to a multiple of this, for the reason that
# src/model/ragged_layout.py gives.
TOKENS_MULTIPLE = 32
# positions [K] in the flat batch; the first token of each sequence; None for all tokens
TokenSelection = Tensor | Literal["first"] | None
# hidden states [T, D] to those of the selected tokens: [K, D], [B, D] or [T, D]
LayerFunction = Callable[[Tensor, TokenSelection], Tensor]


def compute_hidden_states(
    body: Any,
    family: str,
    tokens: Tokens,
    positions: Tensor,
    *,
    at: TokenSelection,
    checkpointing: bool,
) -> Tensor:
    """Last hidden states of all tokens [T, D], or of the selected ones.

    Args:
        body: the `base_model` of a network.
        family: of the network, one of `FAST_FAMILIES`.
        positions: [T], of each token among the learnt ones.
        at: the tokens whose states are wanted.
        checkpointing: keep only the states between layers for the backward pass, and compute the
            rest again (Chen et al., 2016).
    """
    device = tokens.ids.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    with torch.autocast(device, enabled=False):
        layout = RaggedLayout(tokens)
        states, layers = _PREPARE_FUNCTIONS[family](body, tokens, layout, positions, dtype)
        if device == "cpu" and not layout.is_packed:
            padding = round_up(len(states), TOKENS_MULTIPLE) - len(states)
            states = nn.functional.pad(states, (0, 0, 0, padding))
        for number, layer in enumerate(layers):
            layer_at = at if number == len(layers) - 1 else None
            if checkpointing and torch.is_grad_enabled():
                states = checkpoint(layer, states, layer_at, use_reentrant=False)
            else:
                states = layer(states, layer_at)
        if at is None:
            states = states[: len(tokens.ids)]
        if hasattr(body, "final_norm"):
            states = apply_layer_norm(states, body.final_norm, dtype)
        return states


# -- BERT and its relatives with the same body
# (Devlin et al., 2019; Liu et al., 2019; Clark et al., 2020)


def _prepare_bert(
    body: Any, tokens: Tokens, layout: RaggedLayout, positions: Tensor, dtype: torch.dtype
) -> tuple[Tensor, list[LayerFunction]]:
    parts = body.embeddings
    states = embed_ids(tokens.ids, parts.word_embeddings)
    states = states + embed_ids(positions, parts.position_embeddings)
    types = parts.token_type_embeddings.weight
    if len(types) == 1 or (tokens.ids.device.type == "cpu" and not tokens.type_ids.any()):
        states = states + types[0]
    elif len(types) == 2:
        # The gradient of `where` is two sums; that of a lookup would be gathered on a GPU token by
        # token in one row.
        states = states + torch.where(tokens.type_ids[:, None] == 0, types[0], types[1])
    else:
        states = states + embedding(tokens.type_ids, types)
    states = apply_dropout_module(apply_layer_norm(states, parts.LayerNorm, dtype), parts.dropout)
    if hasattr(body, "embeddings_project"):
        states = apply_linears(states, body.embeddings_project)
    return states, [_build_bert_layer(layer, layout, dtype) for layer in body.encoder.layer]


def _build_bert_layer(layer: Any, layout: RaggedLayout, dtype: torch.dtype) -> LayerFunction:
    attention, attention_output = layer.attention.self, layer.attention.output
    up, down = layer.intermediate, layer.output
    heads, width, scale = (
        attention.num_attention_heads,
        attention.attention_head_size,
        attention.scaling,
    )
    dropout = attention.dropout.p if attention.dropout.training else 0.0

    def run(states: Tensor, at: TokenSelection) -> Tensor:
        row_positions = layout.find_row_positions(at)
        if row_positions is not None:
            kv = apply_linears(states, attention.key, attention.value).view(-1, 2, heads, width)
            (states,) = layout.select_tokens(at, states)
            query = apply_linears(states, attention.query).view(-1, heads, width)
            answer = ragged_attention_of_selected(
                query, kv, row_positions, layout, scale=scale, dropout=dropout
            )
        else:
            qkv = apply_linears(states, attention.query, attention.key, attention.value)
            qkv = qkv.view(-1, 3, heads, width)
            answer = ragged_attention(qkv, layout, scale=scale, dropout=dropout)
            states, answer = layout.select_tokens(at, states, answer)
        answer = apply_linears(answer.flatten(1), attention_output.dense)
        answer = apply_dropout_module(answer, attention_output.dropout)
        states = apply_layer_norm(states + answer, attention_output.LayerNorm, dtype)
        inner = up.intermediate_act_fn(apply_linears(states, up.dense))
        inner = apply_dropout_module(apply_linears(inner, down.dense), down.dropout)
        return apply_layer_norm(states + inner, down.LayerNorm, dtype)

    return run


# -- ModernBERT (Warner et al., 2024)


def _prepare_modernbert(
    body: Any, tokens: Tokens, layout: RaggedLayout, positions: Tensor, dtype: torch.dtype
) -> tuple[Tensor, list[LayerFunction]]:
    parts = body.embeddings
    # The states that layers add to stay fp32: small steps on a long sum would be lost in bf16.
    states = apply_layer_norm(
        embed_ids(tokens.ids, parts.tok_embeddings), parts.norm, torch.float32
    )
    states = apply_dropout_module(states, parts.drop)
    angles = {}
    for kind in set(body.config.layer_types):
        # [1, T, E], both halves of E alike
        cos, sin = body.rotary_emb(states, tokens.positions[None], kind)
        half = cos.shape[-1] // 2
        angles[kind] = (cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous())
    layers = [
        _build_modernbert_layer(layer, layout, angles[layer.attention_type], dtype)
        for layer in body.layers
    ]
    return states, layers


def _build_modernbert_layer(
    layer: Any, layout: RaggedLayout, angles: tuple[Tensor, Tensor], dtype: torch.dtype
) -> LayerFunction:
    attention, mlp = layer.attn, layer.mlp
    width, scale, window = attention.head_dim, attention.head_dim**-0.5, attention.sliding_window
    dropout = attention.attention_dropout if attention.training else 0.0

    def run(states: Tensor, at: TokenSelection) -> Tensor:
        normed = apply_layer_norm(states, layer.attn_norm, dtype)
        row_positions = layout.find_row_positions(at)
        if row_positions is not None:
            # the rows of Wqkv: those of the queries first, then those of keys and values
            size = normed.shape[-1]
            kv = apply_linear_rows(normed, attention.Wqkv, slice(size, None))
            kv = kv.unflatten(-1, (2, -1, width))
            states, normed, cos, sin = layout.select_tokens(at, states, normed, *angles)
            query = apply_linear_rows(normed, attention.Wqkv, slice(size))
            query = apply_rotary(query.unflatten(-1, (-1, width)), cos[:, None], sin[:, None])
            answer = ragged_attention_of_selected(
                query,
                kv,
                row_positions,
                layout,
                scale=scale,
                dropout=dropout,
                window=window,
                rotation=angles,
            )
        else:
            qkv = apply_linears(normed, attention.Wqkv).unflatten(-1, (3, -1, width))
            answer = ragged_attention(
                qkv, layout, scale=scale, dropout=dropout, window=window, rotation=angles
            )
            states, answer = layout.select_tokens(at, states, answer)
        answer = apply_linears(answer.flatten(1), attention.Wo)
        states = states + apply_dropout_module(answer, attention.out_drop)
        normed = apply_layer_norm(states, layer.mlp_norm, dtype)
        inner, gate = apply_linears(normed, mlp.Wi).chunk(2, -1)
        inner = apply_dropout_module(mlp.act(inner) * gate, mlp.drop)
        return states + apply_linears(inner, mlp.Wo)

    return run


PrepareFunction = Callable[
    [Any, Tokens, RaggedLayout, Tensor, torch.dtype], tuple[Tensor, list[LayerFunction]]
]
# for each family, what makes a batch's first states and the functions of its layers
_PREPARE_FUNCTIONS: dict[str, PrepareFunction] = {
    **dict.fromkeys(("bert", "camembert", "electra", "roberta", "xlm-roberta"), _prepare_bert),
    "modernbert": _prepare_modernbert,
}
FAST_FAMILIES = frozenset(_PREPARE_FUNCTIONS)
