"""Faster forward passes for the bodies of some encoder families: the Hugging Face modules hold the
weights, this file does the arithmetic.

The same weights give the same logits, and everything that is saved, loaded, frozen or given its own
learning rate stays what transformers knows. But queries, keys and values are one product, few
tensors change their type, attention and dropout are ours, and the last layer is computed only for
the tokens whose answer is wanted.

Shape legend: T tokens, K tokens whose answer is wanted, D width, H heads, E width of a head.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from src.core.batch import Tokens
from src.model.attention.attention_bucket import round_up
from src.model.attention.ragged_attention import (
    apply_rotary,
    ragged_attention,
    ragged_attention_of_selected,
)
from src.model.attention.ragged_layout import RaggedLayout
from src.model.attention.relative_attention import (
    relative_attention,
    relative_attention_of_selected,
)
from src.model.attention.relative_positions import DistanceTable, RelativeFunction, build_bias
from src.model.fast_dropout import apply_dropout_module
from src.model.fast_layers import apply_layer_norm, apply_linear_rows, apply_linears, embed_ids

# On a CPU, the tokens of a ragged batch are filled up to a multiple of this, for the reason that
# src/model/attention/ragged_layout.py gives.
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
    is_causal: bool,
    checkpointing: bool,
) -> Tensor:
    """Last hidden states of all tokens [T, D], or of the selected ones.

    Args:
        body: the `base_model` of a network.
        family: of the network, one of `FAST_FAMILIES`.
        positions: [T], of each token among the learnt ones.
        at: the tokens whose states are wanted.
        is_causal: a token sees only those before it.
        checkpointing: keep only the states between layers for the backward pass, and compute the
            rest again (Chen et al., 2016).
    """
    device = tokens.ids.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    with torch.autocast(device, enabled=False):
        layout = RaggedLayout(tokens, is_causal=is_causal)
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


# -- BERT and its relatives with the same layers
# (Devlin et al., 2019; Liu et al., 2019; Clark et al., 2020; Song et al., 2020; He et al., 2021)


class _BertLayer(NamedTuple):
    """The parts of a layer, which families name differently."""

    query: nn.Module
    key: nn.Module
    value: nn.Module
    output: nn.Module
    output_dropout: nn.Module
    norm: nn.Module
    feed_forward: tuple[Any, Any]
    heads: int
    scale: float
    weight_dropout: nn.Module
    # makes what scores hold of distances; None: nothing
    build_relative: RelativeFunction | None = None


def _prepare_bert(
    body: Any, tokens: Tokens, layout: RaggedLayout, positions: Tensor, dtype: torch.dtype
) -> tuple[Tensor, list[LayerFunction]]:
    states = _embed_tokens(body.embeddings, tokens, positions, dtype)
    if hasattr(body, "embeddings_project"):
        states = apply_linears(states, body.embeddings_project)
    layers = []
    for layer in body.encoder.layer:
        attention, output = layer.attention.self, layer.attention.output
        parts = _BertLayer(
            attention.query,
            attention.key,
            attention.value,
            output.dense,
            output.dropout,
            output.LayerNorm,
            (layer.intermediate, layer.output),
            attention.num_attention_heads,
            attention.scaling,
            attention.dropout,
        )
        layers.append(_build_bert_layer(parts, layout, dtype))
    return states, layers


def _prepare_mpnet(
    body: Any, tokens: Tokens, layout: RaggedLayout, positions: Tensor, dtype: torch.dtype
) -> tuple[Tensor, list[LayerFunction]]:
    states = _embed_tokens(body.embeddings, tokens, positions, dtype)
    bias = build_bias(body.encoder, layout.longest_row)
    layers = []
    for layer in body.encoder.layer:
        attention, output = layer.attention.attn, layer.attention
        parts = _BertLayer(
            attention.q,
            attention.k,
            attention.v,
            attention.o,
            output.dropout,
            output.LayerNorm,
            (layer.intermediate, layer.output),
            attention.num_attention_heads,
            attention.attention_head_size**-0.5,
            attention.dropout,
            lambda: bias,
        )
        layers.append(_build_bert_layer(parts, layout, dtype))
    return states, layers


def _prepare_deberta(
    body: Any, tokens: Tokens, layout: RaggedLayout, positions: Tensor, dtype: torch.dtype
) -> tuple[Tensor, list[LayerFunction]]:
    states = _embed_tokens(body.embeddings, tokens, positions, dtype)
    table = None
    if body.encoder.relative_attention:
        table = DistanceTable(body.encoder, layout.longest_row, dtype)
    layers = []
    for layer in body.encoder.layer:
        attention, output = layer.attention.self, layer.attention.output
        kinds = {"c2p", "p2c"} & set(attention.pos_att_type)
        parts = _BertLayer(
            attention.query_proj,
            attention.key_proj,
            attention.value_proj,
            output.dense,
            output.dropout,
            output.LayerNorm,
            (layer.intermediate, layer.output),
            attention.num_attention_heads,
            (attention.attention_head_size * (1 + len(kinds))) ** -0.5,
            attention.dropout,
            partial(table.project, attention) if table is not None and kinds else None,
        )
        layers.append(_build_bert_layer(parts, layout, dtype))
    return states, layers


def _embed_tokens(parts: Any, tokens: Tokens, positions: Tensor, dtype: torch.dtype) -> Tensor:
    """The first states [T, D]; before a projection behind them, if there is one."""
    states = _add_embeddings(parts, tokens, positions)
    if getattr(parts, "embed_proj", None) is not None:
        states = apply_linears(states.to(dtype), parts.embed_proj)
    return apply_dropout_module(apply_layer_norm(states, parts.LayerNorm, dtype), parts.dropout)


def _add_embeddings(parts: Any, tokens: Tokens, positions: Tensor) -> Tensor:
    """The sum of what a token, its place and its text have, where there is such a table."""
    states = embed_ids(tokens.ids, parts.word_embeddings)
    if parts.position_embeddings is not None:
        states = states + embed_ids(positions, parts.position_embeddings)
    type_embeddings = getattr(parts, "token_type_embeddings", None)
    if type_embeddings is None:
        return states
    types = type_embeddings.weight
    if len(types) == 1 or (tokens.ids.device.type == "cpu" and not tokens.type_ids.any()):
        return states + types[0]
    if len(types) == 2:
        # The gradient of `where` is two sums; that of a lookup would be gathered on a GPU token by
        # token in one row.
        return states + torch.where(tokens.type_ids[:, None] == 0, types[0], types[1])
    return states + embedding(tokens.type_ids, types)


def _build_bert_layer(parts: _BertLayer, layout: RaggedLayout, dtype: torch.dtype) -> LayerFunction:
    heads, scale, (up, down) = parts.heads, parts.scale, parts.feed_forward
    dropout = getattr(parts.weight_dropout, "p", 0.0) if parts.weight_dropout.training else 0.0

    def attend(qkv: Tensor) -> Tensor:
        if parts.build_relative is None:
            return ragged_attention(qkv, layout, scale=scale, dropout=dropout)
        relative = parts.build_relative()
        return relative_attention(qkv, layout, relative, scale=scale, dropout=dropout)

    def attend_selected(query: Tensor, kv: Tensor, row_positions: Tensor) -> Tensor:
        if parts.build_relative is None:
            return ragged_attention_of_selected(
                query, kv, row_positions, layout, scale=scale, dropout=dropout
            )
        return relative_attention_of_selected(
            query,
            kv,
            row_positions,
            layout,
            parts.build_relative(),
            scale=scale,
            dropout=dropout,
        )

    def run(states: Tensor, at: TokenSelection) -> Tensor:
        row_positions = layout.find_row_positions(at)
        if row_positions is not None:
            kv = apply_linears(states, parts.key, parts.value).unflatten(-1, (2, heads, -1))
            (states,) = layout.select_tokens(at, states)
            query = apply_linears(states, parts.query).unflatten(-1, (heads, -1))
            answer = attend_selected(query, kv, row_positions)
        else:
            qkv = apply_linears(states, parts.query, parts.key, parts.value)
            answer = attend(qkv.unflatten(-1, (3, heads, -1)))
            states, answer = layout.select_tokens(at, states, answer)
        answer = apply_linears(answer.flatten(1), parts.output)
        answer = apply_dropout_module(answer, parts.output_dropout)
        states = apply_layer_norm(states + answer, parts.norm, dtype)
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
    "deberta-v2": _prepare_deberta,
    "modernbert": _prepare_modernbert,
    "mpnet": _prepare_mpnet,
}
FAST_FAMILIES = frozenset(_PREPARE_FUNCTIONS)


def supports_network(network: PreTrainedModel) -> bool:
    """True if this file has a body for a network's family and config."""
    if network.config.model_type not in FAST_FAMILIES:
        return False
    # the largest DeBERTa-v2 have a convolution beside their first layer
    return getattr(getattr(network.base_model, "encoder", None), "conv", None) is None
