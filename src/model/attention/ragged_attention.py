"""Attention over sequences laid end to end, with no padding outside of it and no leaks between
neighbours.

Shape legend: B sequences, T tokens of all of them, H heads, E width of a head; of one bucket
(ragged_layout.py): n rows, L tokens of a row, Q queries of a row (L, or fewer where only some
tokens' answers are wanted).
"""

from collections.abc import Callable
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from src.model.attention.attention_blocks import AttentionBlocks, prefer_blocks
from src.model.attention.attention_bucket import attention_bias
from src.model.attention.blockwise_attention import attention_weights
from src.model.attention.cpu_attention import CpuAttention, SelectedAttention
from src.model.attention.ragged_layout import RaggedLayout
from src.model.attention.rotary import apply_rotary
from src.model.fast_dropout import apply_dropout


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
    return CpuAttention.apply(qkv, cos, sin, layout, scale, dropout, window)


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
    for bucket in layout.buckets:
        part = slice(first, first + per_row * bucket.num_rows)
        # [2, n, H, L, E]
        key, value = bucket.pad_rows(kv[bucket.begin : bucket.end]).permute(2, 0, 3, 1, 4)
        # [n, H, Q, E]
        own_query = query[part].unflatten(0, (-1, per_row)).transpose(1, 2) * scale
        own_positions = positions[part].view(-1, per_row)
        if prefer_blocks(bucket, window, own_query, has_backward=True):
            blocks = AttentionBlocks(bucket, window, query.dtype, own_positions)
            answer = SelectedAttention.apply(own_query, key, value, blocks, dropout)
        else:
            allowed = bucket.build_attention_mask(
                window, rows=slice(None), positions=own_positions, keys=slice(None)
            )
            weights = attention_weights(own_query, key, attention_bias(allowed, query.dtype))
            if dropout:
                weights = apply_dropout(weights, dropout)
            answer = weights @ value
        outputs.append(answer.transpose(1, 2).flatten(0, 1))
        first = part.stop
    return torch.cat(outputs)


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
        before = after = -1 if window is None else window - 1
        near = (before, 0 if layout.is_causal else after)
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
