"""Attention on a CPU as one autograd node per layer, forward and backward: plain products, which
beat the fused kernel there; each bucket's rows are made contiguous once, and gradients are written
into place.

Weights of short rows are kept for the backward pass; those of long rows, of which there are many
more than tokens, are computed again in blocks.

Shape legend: T tokens, H heads, E width of a head; of one bucket: n rows, L tokens of a row, Q
queries of a row (L, or fewer where only some tokens' answers are wanted).
"""

from typing import Any

import torch
from torch import Tensor, nn

from src.model.attention.attention_blocks import AttentionBlocks, keep_weights, prefer_blocks
from src.model.attention.blockwise_attention import BlockwiseAttention, attention_weights
from src.model.attention.ragged_layout import RaggedLayout
from src.model.attention.rotary import apply_rotary
from src.model.fast_dropout import apply_keep_mask, draw_keep_mask, dropout_scale


class CpuAttention(torch.autograd.Function):
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
        ctx.layout, ctx.scale = layout, scale
        has_backward = ctx.needs_input_grad[0]
        ctx.cores = []
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
            in_blocks = prefer_blocks(bucket, window, query, has_backward=has_backward)
            core: WholeAttention | BlockwiseAttention
            if in_blocks:
                blocks = layout.get_attention_blocks(number, window, qkv)
                core = BlockwiseAttention(
                    blocks,
                    dropout,
                    keeps_weights=has_backward and keep_weights(bucket, query),
                )
            else:
                bias = layout.get_attention_bias(number, window, qkv)
                # without a backward pass the fused kernel is faster
                if not has_backward:
                    answer = nn.functional.scaled_dot_product_attention(
                        query, key, value, bias, dropout, scale=scale
                    )
                    out[part] = bucket.unpad_rows(answer.transpose(1, 2))
                    continue
                core = WholeAttention(bias, dropout)
            answer, kept = core.forward(query * scale, key, value)
            out[part] = bucket.unpad_rows(answer.transpose(1, 2))
            if has_backward:
                ctx.cores.append((core, len(kept)))
                saved += [angles, *kept]
        ctx.save_for_backward(*saved)
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> Any:
        grad = grad_out.new_empty(grad_out.shape[0], 3, *grad_out.shape[1:])
        grad[ctx.layout.buckets[-1].end :] = 0
        saved = iter(ctx.saved_tensors)
        for bucket, (core, count) in zip(ctx.layout.buckets, ctx.cores, strict=True):
            angles, kept = next(saved), [next(saved) for _ in range(count)]
            part = slice(bucket.begin, bucket.end)
            # [n, H, L, E]
            grad_answer = bucket.pad_rows(grad_out[part]).transpose(1, 2).contiguous()
            grad_query, grad_key, grad_value = core.backward(grad_answer, *kept)
            grad_query = grad_query.mul_(ctx.scale)
            if angles is not None:
                cos, sin = angles
                grad_query = apply_rotary(grad_query, cos, -sin)
                grad_key = apply_rotary(grad_key, cos, -sin)
            for index, rows in enumerate((grad_query, grad_key, grad_value)):
                grad[part, index] = bucket.unpad_rows(rows.transpose(1, 2))
        return grad, None, None, None, None, None, None


class WholeAttention:
    """Attention of one bucket whose weights are all formed at once and kept.

    Args:
        bias: the term that is added to its scores.
        dropout: share of the weights that is dropped.
    """

    def __init__(self, bias: Tensor | None, dropout: float) -> None:
        self._bias = bias
        self._dropout = dropout

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Queries, scaled already, keys and values [n, H, L, E] to as many answers, and what the
        backward pass needs.
        """
        weights = attention_weights(query, key, self._bias)
        keep = draw_keep_mask(weights, self._dropout) if self._dropout else None
        if keep is not None:
            # the values are scaled instead of the weights, which are many more
            value = value * dropout_scale(self._dropout)
        answer = _mask_if_any(weights, keep).matmul(value)
        return answer, [query, key, value, weights, keep]

    def backward(
        self,
        grad_answer: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        weights: Tensor,
        keep: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of the scaled queries, keys and values."""
        grad_value = _mask_if_any(weights, keep).transpose(-1, -2) @ grad_answer
        grad_weights = _mask_if_any(grad_answer @ value.transpose(-1, -2), keep)
        if keep is not None:
            grad_value *= dropout_scale(self._dropout)
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        return grad_scores @ key, grad_scores.transpose(-1, -2) @ query, grad_value


class SelectedAttention(torch.autograd.Function):
    """Attention of some queries of a bucket [n, H, Q, E], scaled already, in blocks."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        blocks: AttentionBlocks,
        dropout: float,
    ) -> Tensor:
        ctx.core = BlockwiseAttention(blocks, dropout, keeps_weights=False)
        answer, kept = ctx.core.forward(query, key.contiguous(), value.contiguous())
        ctx.save_for_backward(*kept)
        return answer

    @staticmethod
    def backward(ctx: Any, grad_answer: Tensor) -> Any:
        grads = ctx.core.backward(grad_answer.contiguous(), *ctx.saved_tensors)
        return *(grad.to(grad_answer.dtype) for grad in grads), None, None


def _mask_if_any(weights: Tensor, keep: Tensor | None) -> Tensor:
    return weights if keep is None else apply_keep_mask(weights, keep)
