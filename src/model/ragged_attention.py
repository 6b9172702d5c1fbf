"""Attention over sequences laid end to end, with no padding outside of it and no leaks between
neighbours.

On a CPU, attention is one autograd node per layer, forward and backward: plain products, which beat
the fused kernel there; each bucket's rows are made contiguous once, and gradients are written into
place.

Shape legend: B sequences, T tokens of all of them, H heads, E width of a head; of one bucket
(src/model/ragged_layout.py): n rows, L tokens of a row, Q queries of a row (L, or fewer where only
some tokens' answers are wanted).
"""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from src.model.fast_dropout import apply_dropout, apply_keep_mask, draw_keep_mask, dropout_scale
from src.model.ragged_layout import RaggedLayout


def _load_varlen_kernel() -> Callable[..., Any] | None:
    """torch's kernel for sequences of different lengths, which is for CUDA alone; None if torch has
    none that takes a scale and a window (that of torch 2.10 does not).
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if "window_size" in signature(varlen_attn).parameters else None


varlen_attn = _load_varlen_kernel()
# Without cuDNN's, though torch prefers it on a Hopper GPU: it builds a plan for every new shape,
# and ragged batches keep bringing new ones.
_SDPA_BACKENDS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

ATTENTION_NAME = "palimpsest"

# Families whose layers pass unknown keyword arguments on to the attention function; a test proves
# it for each.
_PACKING_FAMILIES = {
    "albert",
    "bert",
    "camembert",
    "distilbert",
    "electra",
    "modernbert",
    "roberta",
    "xlm-roberta",
}


def supports_packing(network: PreTrainedModel) -> bool:
    """True if the network's attention can be told the borders of sequences."""
    return network.config.model_type in _PACKING_FAMILIES


def ragged_attention(
    qkv: Tensor,
    layout: RaggedLayout,
    *,
    scale: float,
    dropout: float = 0.0,
    window: int | None = None,
    rotation: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Softmax attention of every sequence over itself (Vaswani et al., 2017, section 3.2.1).

    Args:
        qkv: [T, 3, H, E], queries, keys and values of every token.
        layout: of the batch that the tokens are of.
        scale: factor of the scores.
        dropout: share of the attention weights that is dropped.
        window: a token sees those that are fewer positions away; None: its whole sequence.
        rotation: cosine and sine [T, E / 2] of each token's angles, by which queries and keys are
            rotated (Su et al., 2021, section 3.2.2).

    Returns:
        [T, H, E].
    """
    if qkv.device.type != "cpu":
        query, key, value = qkv.unbind(1)
        if rotation is not None:
            angles = [angle[:, None] for angle in rotation]
            query, key = apply_rotary(query, *angles), apply_rotary(key, *angles)
        return _fused_attention(query, key, value, layout, scale, dropout, window)
    cos, sin = rotation if rotation is not None else (None, None)
    return _CpuAttention.apply(qkv, cos, sin, layout, scale, dropout, window)


def ragged_attention_of_selected(
    query: Tensor,
    kv: Tensor,
    positions: Tensor,
    layout: RaggedLayout,
    *,
    scale: float,
    dropout: float = 0.0,
    window: int | None = None,
    rotation: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Attention of some tokens alone, the same number in every row.

    For the last layer, where only some tokens' answers are used.

    Args:
        query: [K, H, E], rotated already.
        kv: [T, 2, H, E], keys and values of every token.
        positions: [K], of the tokens in their rows (`RaggedLayout.find_row_positions`).
        rotation: for the keys. The rest as for `ragged_attention`.

    Returns:
        [K, H, E].
    """
    if rotation is not None:
        # without the tokens that a batch was filled up with
        key, value = kv[: len(rotation[0])].unbind(1)
        kv = torch.stack((apply_rotary(key, *(part[:, None] for part in rotation)), value), 1)
    per_row = len(query) // sum(bucket.num_rows for bucket in layout.buckets)
    outputs, first = [], 0
    for number, bucket in enumerate(layout.buckets):
        part = slice(first, first + per_row * bucket.num_rows)
        # [2, n, H, L, E]
        key, value = bucket.pad_rows(kv[bucket.begin : bucket.end]).permute(2, 0, 3, 1, 4)
        # [n, H, Q, E]
        own_query = query[part].unflatten(0, (-1, per_row)).transpose(1, 2) * scale
        bias = layout.get_attention_bias(number, window, query)
        if bias is not None and bias.shape[2] > 1:
            rows = torch.arange(bucket.num_rows, device=kv.device)[:, None] % len(bias)
            bias = bias[rows, 0, positions[part].view(-1, per_row)][:, None]  # [n, 1, Q, L]
        weights = _attention_weights(own_query, key, bias)
        if dropout:
            weights = apply_dropout(weights, dropout)
        outputs.append((weights @ value).transpose(1, 2).flatten(0, 1))
        first = part.stop
    return torch.cat(outputs)


def apply_rotary(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """States [..., E] with each pair (i, i + E / 2) rotated, computed in fp32.

    Args:
        cos, sin: of the angles, [..., E / 2].
    """
    first, second = states.float().chunk(2, -1)
    rotated = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
    return rotated.to(states.dtype)


def _attention_weights(query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    """Queries [n, H, Q, E], scaled already, and keys [n, H, L, E] to weights [n, H, Q, L]."""
    scores = query @ key.transpose(-1, -2)
    return (scores if bias is None else scores + bias).softmax(-1)


def _mask_if_any(weights: Tensor, keep: Tensor | None) -> Tensor:
    return weights if keep is None else apply_keep_mask(weights, keep)


class _CpuAttention(torch.autograd.Function):
    """`ragged_attention` on a CPU."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        cos: Tensor | None,
        sin: Tensor | None,
        layout: RaggedLayout,
        scale: float,
        dropout: float,
        window: int | None,
    ) -> Tensor:
        out = torch.empty_like(qkv[:, 0])
        # the tokens that a batch was filled up with
        out[layout.buckets[-1].end :] = 0
        saved: list[Tensor | None] = []
        for number, bucket in enumerate(layout.buckets):
            part = slice(bucket.begin, bucket.end)
            # One copy puts queries, keys and values [n, H, L, E] in the order in which every later
            # product reads them.
            query, key, value = bucket.pad_rows(qkv[part]).permute(2, 0, 3, 1, 4).contiguous()
            angles = None
            if cos is not None and sin is not None:
                # [2, n, 1, L, E / 2]
                angles = torch.stack(
                    [bucket.pad_rows(angle[part])[:, None] for angle in (cos, sin)]
                )
                query, key = apply_rotary(query, *angles), apply_rotary(key, *angles)
            bias = layout.get_attention_bias(number, window, qkv)
            # without a backward pass the fused kernel is faster
            if not ctx.needs_input_grad[0]:
                answer = nn.functional.scaled_dot_product_attention(
                    query, key, value, bias, dropout, scale=scale
                )
                out[part] = bucket.unpad_rows(answer.transpose(1, 2))
                continue
            query = query * scale
            weights = _attention_weights(query, key, bias)
            keep = draw_keep_mask(weights, dropout) if dropout else None
            if keep is not None:
                # the values are scaled instead of the weights, which are many more
                value = value * dropout_scale(dropout)
            out[part] = bucket.unpad_rows(_mask_if_any(weights, keep).matmul(value).transpose(1, 2))
            saved += [query, key, value, weights, keep, angles]
        ctx.save_for_backward(*saved)
        ctx.layout, ctx.scale, ctx.dropout_scale = layout, scale, dropout_scale(dropout)
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> Any:
        grad = grad_out.new_empty(grad_out.shape[0], 3, *grad_out.shape[1:])
        grad[ctx.layout.buckets[-1].end :] = 0
        saved: Sequence[Any] = ctx.saved_tensors
        for number, bucket in enumerate(ctx.layout.buckets):
            query, key, value, weights, keep, angles = saved[6 * number : 6 * number + 6]
            part = slice(bucket.begin, bucket.end)
            # [n, H, L, E]
            grad_answer = bucket.pad_rows(grad_out[part]).transpose(1, 2).contiguous()
            grad_value = _mask_if_any(weights, keep).transpose(-1, -2) @ grad_answer
            grad_weights = _mask_if_any(grad_answer @ value.transpose(-1, -2), keep)
            if keep is not None:
                grad_value *= ctx.dropout_scale
            grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
            grad_query = (grad_scores @ key).mul_(ctx.scale)
            grad_key = grad_scores.transpose(-1, -2) @ query
            if angles is not None:
                cos, sin = angles
                grad_query = apply_rotary(grad_query, cos, -sin)
                grad_key = apply_rotary(grad_key, cos, -sin)
            for index, rows in enumerate((grad_query, grad_key, grad_value)):
                grad[part, index] = bucket.unpad_rows(rows.transpose(1, 2))
        return grad, None, None, None, None, None, None


def _fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: RaggedLayout,
    scale: float,
    dropout: float,
    window: int | None,
) -> Tensor:
    """`ragged_attention` on a GPU, for [T, H, E]: torch's kernel for sequences of different lengths
    where it can be used, else the fused one on padded rows.
    """
    tokens, width = layout.tokens, query.shape[-1]
    if (
        varlen_attn is not None
        and query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and not dropout
        and width % 8 == 0
        and width <= 256
    ):
        near = (window - 1, window - 1) if window is not None else (-1, -1)
        borders = (tokens.cu_seqlens, tokens.cu_seqlens, tokens.max_seqlen, tokens.max_seqlen)
        return cast(Tensor, varlen_attn(query, key, value, *borders, scale=scale, window_size=near))
    bucket = layout.buckets[0]
    query, key, value = (bucket.pad_rows(flat).transpose(1, 2) for flat in (query, key, value))
    bias = layout.get_attention_bias(0, window, query)
    attend = nn.functional.scaled_dot_product_attention
    with sdpa_kernel(_SDPA_BACKENDS):
        answer = attend(query, key, value, attn_mask=bias, scale=scale, dropout_p=dropout)
    return bucket.unpad_rows(answer.transpose(1, 2))


def ragged_attention_forward(
    module: nn.Module,
    query: Tensor,  # [1, H, T, E]
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: RaggedLayout,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **unused: object,
) -> tuple[Tensor, None]:
    """The attention function that is registered with transformers, for families whose layers call
    it.

    transformers 5 drops packed position ids on their way to encoders, so that `position_ids` alone
    leaks attention across documents silently. The layout comes through the model's keyword
    arguments instead.

    Returns:
        [1, T, H, E], and None for the attention weights.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    if query.device.type != "cpu":
        answer = _fused_attention(query, key, value, layout, scale, dropout, sliding_window)
    else:
        qkv = torch.stack((query, key, value), 1)
        answer = ragged_attention(qkv, layout, scale=scale, dropout=dropout, window=sliding_window)
    return answer[None], None


def _skip_mask(*args: object, **kwargs: object) -> None:
    """Build no mask: the layout knows every border, and transformers' mask would only cost time."""


AttentionInterface.register(ATTENTION_NAME, ragged_attention_forward)
AttentionMaskInterface.register(ATTENTION_NAME, _skip_mask)
