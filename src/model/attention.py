"""Attention over sequences laid end to end, without padding outside of it and without leaks between neighbours.

Shape legend: B sequences, T tokens of all of them, H heads, E width of a head; of one bucket (src/model/layout.py):
n rows, L tokens of a row, Q queries of a row (L, or fewer where only some tokens' answers are wanted).

On a CPU the whole of it, forward and backward, is one node of autograd per layer: plain products, which beat the fused
kernel there, each bucket's rows made contiguous once, and gradients written where they belong.
"""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from src.model.dropout import dropped, kept, masked
from src.model.dropout import scale as upscale
from src.model.layout import Layout


def _kernel() -> Callable[..., Any] | None:
    """torch's kernel for variable length, on CUDA alone; that of torch 2.10 takes no scale and no window."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if "window_size" in signature(varlen_attn).parameters else None


varlen_attn = _kernel()
# Not cuDNN's, though torch prefers it on a Hopper: it builds a plan for every shape, and ragged batches have new ones.
_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

NAME = "palimpsest"

# Families whose layers hand unknown keyword arguments down to the attention function; each one is proved in the tests.
_FAMILIES = {"albert", "bert", "camembert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta"}


def supports(network: PreTrainedModel) -> bool:
    return network.config.model_type in _FAMILIES


def attention(
    qkv: Tensor,
    layout: Layout,
    *,
    scale: float,
    dropout: float = 0.0,
    window: int | None = None,
    rotation: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Softmax attention of every sequence over itself (Vaswani et al., 2017, section 3.2.1).

    Args:
        qkv: [T, 3, H, E], queries, keys and values of every token.
        dropout: share of the attention weights dropped.
        window: a token sees those less than so many places away; None: the whole sequence.
        rotation: cosine and sine [T, E / 2] of each token's place, by which queries and keys are turned (Su et al.,
            2021, section 3.2.2).

    Returns:
        [T, H, E].
    """
    if qkv.device.type != "cpu":
        query, key, value = qkv.unbind(1)
        if rotation is not None:
            query, key = (turned(each, *(part[:, None] for part in rotation)) for each in (query, key))
        return _fused(query, key, value, layout, scale, dropout, window)
    cos, sin = rotation if rotation is not None else (None, None)
    return _Attention.apply(qkv, cos, sin, layout, scale, dropout, window)


def part_attention(
    query: Tensor,
    kv: Tensor,
    places: Tensor,
    layout: Layout,
    *,
    scale: float,
    dropout: float = 0.0,
    window: int | None = None,
    rotation: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Attention of some tokens alone, as many in every row: query [K, H, E] over keys and values [T, 2, H, E].

    What is read of the last layer; the other tokens' answers would be computed for nothing.

    Args:
        places: [K], of the tokens in their rows (`Layout.places`).
        rotation: of the keys; the query comes turned already. The rest as `attention`.

    Returns:
        [K, H, E].
    """
    if rotation is not None:
        key, value = kv[: len(rotation[0])].unbind(1)  # less what a batch was filled up with
        kv = torch.stack((turned(key, *(part[:, None] for part in rotation)), value), 1)
    each = len(query) // sum(bucket.count for bucket in layout.buckets)
    outputs, first = [], 0
    for number, bucket in enumerate(layout.buckets):
        part = slice(first, first + each * bucket.count)
        rows = bucket.rows(kv[bucket.begin : bucket.end]).permute(2, 0, 3, 1, 4)  # [2, n, H, L, E]
        asked = query[part].unflatten(0, (-1, each)).transpose(1, 2) * scale  # [n, H, Q, E]
        bias = layout.bias(number, window, query)
        if bias is not None and bias.shape[2] > 1:
            own = torch.arange(bucket.count, device=kv.device)[:, None] % len(bias)
            bias = bias[own, 0, places[part].view(-1, each)][:, None]  # [n, 1, Q, L]
        weights = _weights(asked, rows[0], bias)
        if dropout:
            weights = dropped(weights, dropout)
        outputs.append((weights @ rows[1]).transpose(1, 2).flatten(0, 1))
        first = part.stop
    return torch.cat(outputs)


def turned(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """States [..., E] rotated in pairs (i, i + E / 2), computed in fp32."""
    one, two = states.float().chunk(2, -1)
    return torch.cat((one * cos - two * sin, two * cos + one * sin), -1).to(states.dtype)


def _weights(query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    """[n, H, Q, E] and [n, H, L, E] to [n, H, Q, L]; the query is scaled already."""
    scores = query @ key.transpose(-1, -2)
    return (scores if bias is None else scores + bias).softmax(-1)


def _dropped(weights: Tensor, keep: Tensor | None) -> Tensor:
    return weights if keep is None else masked(weights, keep)


class _Attention(torch.autograd.Function):
    """The CPU's way; see `attention`."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        cos: Tensor | None,
        sin: Tensor | None,
        layout: Layout,
        scale: float,
        dropout: float,
        window: int | None,
    ) -> Tensor:
        out = torch.empty_like(qkv[:, 0])
        out[layout.buckets[-1].end :] = 0  # what a batch was filled up with
        saved: list[Tensor | None] = []
        for place, bucket in enumerate(layout.buckets):
            part = slice(bucket.begin, bucket.end)
            # One copy puts queries, keys and values [n, H, L, E] where every later product reads them in order.
            rows = bucket.rows(qkv[part]).permute(2, 0, 3, 1, 4).contiguous()
            query, key, value = rows
            angles = None
            if cos is not None and sin is not None:
                angles = torch.stack([bucket.rows(each[part])[:, None] for each in (cos, sin)])  # [2, n, 1, L, E / 2]
                query, key = turned(query, *angles), turned(key, *angles)
            bias = layout.bias(place, window, qkv)
            if not ctx.needs_input_grad[0]:  # without a backward pass the fused kernel is the faster one
                answer = nn.functional.scaled_dot_product_attention(query, key, value, bias, dropout, scale=scale)
                out[part] = bucket.flat(answer.transpose(1, 2))
                continue
            query = query * scale
            weights = _weights(query, key, bias)
            keep = kept(weights, dropout) if dropout else None
            if keep is not None:
                value = value * upscale(dropout)  # here and not on the weights, which are many more
            out[part] = bucket.flat(_dropped(weights, keep).matmul(value).transpose(1, 2))
            saved += [query, key, value, weights, keep, angles]
        ctx.save_for_backward(*saved)
        ctx.layout, ctx.scale, ctx.upscale = layout, scale, upscale(dropout)
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> Any:
        grad = grad_out.new_empty(grad_out.shape[0], 3, *grad_out.shape[1:])
        grad[ctx.layout.buckets[-1].end :] = 0
        saved: Sequence[Any] = ctx.saved_tensors
        for place, bucket in enumerate(ctx.layout.buckets):
            query, key, value, weights, keep, angles = saved[6 * place : 6 * place + 6]
            part = slice(bucket.begin, bucket.end)
            above = bucket.rows(grad_out[part]).transpose(1, 2).contiguous()  # [n, H, L, E]
            grad_value = _dropped(weights, keep).transpose(-1, -2) @ above
            grad_weights = _dropped(above @ value.transpose(-1, -2), keep)
            if keep is not None:
                grad_value *= ctx.upscale
            scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
            grad_query = (scores @ key).mul_(ctx.scale)
            grad_key = scores.transpose(-1, -2) @ query
            if angles is not None:
                cos, sin = angles
                grad_query, grad_key = turned(grad_query, cos, -sin), turned(grad_key, cos, -sin)
            for which, each in enumerate((grad_query, grad_key, grad_value)):
                grad[part, which] = bucket.flat(each.transpose(1, 2))
        return grad, None, None, None, None, None, None


def _fused(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float, dropout: float, window: int | None
) -> Tensor:
    """The GPU's way, on [T, H, E]: the variable-length kernel where it can, else torch's fused one in padded rows."""
    tokens = layout.tokens
    half, width = query.dtype in (torch.bfloat16, torch.float16), query.shape[-1]
    if varlen_attn is not None and query.is_cuda and half and not dropout and width % 8 == 0 and width <= 256:
        near = (window - 1, window - 1) if window is not None else (-1, -1)
        borders = (tokens.starts, tokens.starts, tokens.longest, tokens.longest)
        return cast(Tensor, varlen_attn(query, key, value, *borders, scale=scale, window_size=near))
    bucket = layout.buckets[0]
    query, key, value = (bucket.rows(each).transpose(1, 2) for each in (query, key, value))
    bias = layout.bias(0, window, query)
    product = nn.functional.scaled_dot_product_attention
    with sdpa_kernel(_KERNELS):
        answer = product(query, key, value, attn_mask=bias, scale=scale, dropout_p=dropout)
    return bucket.flat(answer.transpose(1, 2))


def attend(
    module: nn.Module,
    query: Tensor,  # [1, H, T, E]
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **unused: object,
) -> tuple[Tensor, None]:
    """The function registered with transformers, for families that run through it. Returns [1, T, H, E].

    transformers 5 drops packed position ids on their way to encoders, so that `position_ids` alone leaks attention
    across documents silently; the layout comes through the model's keyword arguments instead.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
    if query.device.type != "cpu":
        return _fused(query, key, value, layout, scale, dropout, sliding_window)[None], None
    qkv = torch.stack((query, key, value), 1)
    return attention(qkv, layout, scale=scale, dropout=dropout, window=sliding_window)[None], None


def _no_mask(*args: object, **kwargs: object) -> None:
    """The layout has every border; a mask built by transformers would only cost time."""


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, _no_mask)
