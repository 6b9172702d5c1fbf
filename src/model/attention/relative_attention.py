"""Attention whose scores depend on the distance of two tokens too, without padding outside of it.

A table of distances is multiplied once with all queries of a row, and the products that a query
needs stand one after the other, one place earlier for the next query: so they are a view of the
products, and nothing is gathered (the shift of Dai et al., 2019, appendix B). With L = 3 and
products P of keys i - j = 2, 1, 0, -1, -2, -3, query 0 reads P[0, 2:5], query 1 P[1, 1:4], query 2
P[2, 0:3].

Shape legend: T tokens, K tokens whose answer is wanted, H heads, E width of a head; of one bucket
(ragged_layout.py): n rows, L tokens of a row, Q queries of a row, M = 2 L distances.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from src.model.attention.attention_blocks import cut
from src.model.attention.attention_bucket import Bucket, attention_bias
from src.model.attention.ragged_layout import RaggedLayout
from src.model.attention.relative_positions import RelativePositions
from src.model.fast_dropout import (
    apply_dropout,
    apply_keep_mask,
    draw_keep_mask,
    dropout_scale,
)

# Scores that are worked on at a time on a CPU: four megabytes in bf16.
_SCORES = 2**21


def relative_attention(
    qkv: Tensor,
    layout: RaggedLayout,
    relative: RelativePositions,
    *,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """`ragged_attention` with a part of the scores that depends on distance.

    Args:
        qkv: [T, 3, H, E], queries, keys and values of every token.
        relative: of the layer, for rows as long as the longest of the layout.
        scale: factor of products with queries or keys; a bias is added as it is.
        dropout: share of the attention weights that is dropped.

    Returns:
        [T, H, E].
    """
    if qkv.device.type == "cpu":
        return CpuRelativeAttention.apply(qkv, *relative, layout, scale, dropout)
    return _attend_padded(qkv, layout, relative, scale=scale, dropout=dropout)


def _attend_padded(
    qkv: Tensor,
    layout: RaggedLayout,
    relative: RelativePositions,
    *,
    scale: float,
    dropout: float,
) -> Tensor:
    """`relative_attention` on a GPU, where all rows are one bucket."""
    (bucket,) = layout.buckets
    query, key, value = bucket.pad_rows(qkv).permute(2, 0, 3, 1, 4)
    positions = torch.arange(bucket.row_length, device=qkv.device)
    positions = positions.expand(bucket.num_rows, -1)
    answer = _attend(query * scale, key, value, positions, bucket, relative, scale, dropout)
    return bucket.unpad_rows(answer.transpose(1, 2))


def relative_attention_of_selected(
    query: Tensor,
    kv: Tensor,
    positions: Tensor,
    layout: RaggedLayout,
    relative: RelativePositions,
    *,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """The same for some tokens alone, the same number in every row.

    Args:
        query: [K, H, E].
        kv: [T, 2, H, E], keys and values of every token.
        positions: [K], of the tokens in their rows. The rest as for `relative_attention`.

    Returns:
        [K, H, E].
    """
    per_row = len(query) // sum(bucket.num_rows for bucket in layout.buckets)
    outputs, first = [], 0
    for bucket in layout.buckets:
        chosen = slice(first, first + per_row * bucket.num_rows)
        key, value = bucket.pad_rows(kv[bucket.begin : bucket.end]).permute(2, 0, 3, 1, 4)
        own_query = query[chosen].unflatten(0, (-1, per_row)).transpose(1, 2) * scale
        own_positions = positions[chosen].view(-1, per_row)
        part = relative.shorten(bucket.row_length)
        answer = _attend(own_query, key, value, own_positions, bucket, part, scale, dropout)
        outputs.append(answer.transpose(1, 2).flatten(0, 1))
        first = chosen.stop
    return torch.cat(outputs)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    positions: Tensor,
    bucket: Bucket,
    relative: RelativePositions,
    scale: float,
    dropout: float,
) -> Tensor:
    """Attention of queries at any positions [n, Q] of their rows, of plain operations: queries
    [n, H, Q, E], scaled already, keys and values [n, H, L, E] to [n, H, Q, E].
    """
    length, heads = bucket.row_length, query.shape[1]
    low, high = 0, length - 1
    if query.device.type == "cpu":
        # where they lie: the rest of the tables is not multiplied
        low, high = int(positions.min()), int(positions.max())
    scores = query @ key.transpose(-1, -2)
    # [n, 1, Q, L]: i - j + L - 1
    distances = positions[:, None, :, None] - torch.arange(1 - length, 1, device=query.device)
    if relative.keys is not None:
        table = relative.keys[:, length - 1 - high : 2 * length - 1 - low]
        products = torch.einsum("nhqe,hme->nhqm", query, table)
        places = (length - 1 + high - distances).expand(-1, heads, -1, -1)
        scores = scores + products.gather(-1, places)
    if relative.queries is not None:
        table = relative.queries[:, low : high + length] * scale
        products = torch.einsum("nhle,hme->nhlm", key, table)
        places = (distances - low).transpose(-1, -2).expand(-1, heads, -1, -1)
        scores = scores + products.gather(-1, places).transpose(-1, -2)
    if relative.bias is not None:
        scores = scores + relative.bias[:, positions].transpose(0, 1).to(scores.dtype)
    allowed = bucket.build_attention_mask(
        None, rows=slice(None), positions=positions, keys=slice(None)
    )
    mask = attention_bias(allowed, scores.dtype)
    weights = (scores if mask is None else scores + mask).softmax(-1)
    return (apply_dropout(weights, dropout) if dropout else weights) @ value


class CpuRelativeAttention(torch.autograd.Function):
    """`relative_attention` on a CPU, as one node, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        keys: Tensor | None,
        queries: Tensor | None,
        bias: Tensor | None,
        layout: RaggedLayout,
        scale: float,
        dropout: float,
    ) -> Tensor:
        out = torch.empty_like(qkv[:, 0])
        # the tokens that a batch was filled up with
        out[layout.buckets[-1].end :] = 0
        ctx.layout, ctx.scale, ctx.dropout = layout, scale, dropout
        has_backward = any(ctx.needs_input_grad)
        saved: list[Tensor | None] = [keys, queries, bias]
        relative = _scale(RelativePositions(keys, queries, bias), scale, qkv.dtype)
        for number, bucket in enumerate(layout.buckets):
            part = slice(bucket.begin, bucket.end)
            # [H, n, L, E]: all rows of a head are one product with a table of distances
            query, key, value = bucket.pad_rows(qkv[part]).permute(2, 3, 0, 1, 4).contiguous()
            query = query * scale
            if dropout:
                # the values are scaled instead of the weights, which are many more
                value = value * dropout_scale(dropout)
            saved += [query, key, value]
            mask = layout.get_attention_bias(number, None, qkv)
            own_relative = relative.shorten(bucket.row_length)
            answer = torch.empty_like(query)
            for block in _cut_scores(query):
                weights = _compute_weights(query, key, own_relative, mask, block)
                keep = draw_keep_mask(weights, dropout) if dropout else None
                if has_backward:
                    saved += [weights, keep]
                answer[block] = _mask_if_any(weights, keep) @ value[block]
            out[part] = bucket.unpad_rows(answer.permute(1, 2, 0, 3))
        if has_backward:
            ctx.save_for_backward(*saved)
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> Any:
        grad = grad_out.new_empty(grad_out.shape[0], 3, *grad_out.shape[1:])
        grad[ctx.layout.buckets[-1].end :] = 0
        saved = iter(ctx.saved_tensors)
        tables = RelativePositions(next(saved), next(saved), next(saved))
        relative = _scale(tables, ctx.scale, grad_out.dtype)
        grads = RelativePositions(
            *(
                None
                if table is None
                else torch.zeros_like(table, dtype=torch.promote_types(table.dtype, torch.float32))
                for table in tables
            )
        )
        for bucket in ctx.layout.buckets:
            query, key, value = next(saved), next(saved), next(saved)
            part, length = slice(bucket.begin, bucket.end), bucket.row_length
            # [H, n, L, E]
            grad_answer = bucket.pad_rows(grad_out[part]).permute(2, 0, 1, 3).contiguous()
            rows = torch.empty(3, *query.shape, dtype=query.dtype)
            own_relative, own_grads = relative.shorten(length), grads.shorten(length)
            for block in _cut_scores(query):
                weights, keep = next(saved), next(saved)
                own_grad = grad_answer[block]
                rows[2][block] = _mask_if_any(weights, keep).transpose(-1, -2) @ own_grad
                grad_weights = _mask_if_any(own_grad @ value[block].transpose(-1, -2), keep)
                grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
                rows[0][block], rows[1][block] = _differentiate_scores(
                    grad_scores, query[block], key[block], own_relative, own_grads, block[0]
                )
            rows[0] *= ctx.scale
            if ctx.dropout:
                rows[2] *= dropout_scale(ctx.dropout)
            grad[part] = bucket.unpad_rows(rows.permute(2, 3, 0, 1, 4))
        if grads.queries is not None:
            grads.queries.mul_(ctx.scale)
        typed = (
            None if of is None or table is None else of.to(table.dtype)
            for of, table in zip(grads, tables, strict=True)
        )
        return grad, *typed, None, None, None


def _scale(relative: RelativePositions, scale: float, dtype: torch.dtype) -> RelativePositions:
    """The positions as they are added to scores; what is multiplied with queries needs no scale,
    which these have.
    """
    queries, bias = relative.queries, relative.bias
    return RelativePositions(
        relative.keys,
        None if queries is None else queries * scale,
        None if bias is None else bias.to(dtype),
    )


def _cut_scores(query: Tensor) -> Iterator[tuple[slice, slice]]:
    """Heads and rows of queries [H, n, L, E] whose scores are worked on together."""
    heads, num_rows, length = query.shape[:3]
    per_head = min(num_rows, max(1, _SCORES // length**2))
    for rows in cut(num_rows, per_head):
        for of_heads in cut(heads, max(1, _SCORES // (per_head * length**2))):
            yield of_heads, rows


def _compute_weights(
    query: Tensor,
    key: Tensor,
    relative: RelativePositions,
    mask: Tensor | None,
    block: tuple[slice, slice],
) -> Tensor:
    """The weights [h, r, L, L] of some heads and rows."""
    heads, rows = block
    own_query, own_key = query[block], key[block]
    scores = own_query @ own_key.transpose(-1, -2)
    if relative.keys is not None:
        scores += _shift(_multiply(own_query, relative.keys[heads]))
    if relative.queries is not None:
        scores += _shift(_multiply(own_key, relative.queries[heads])).transpose(-1, -2)
    if relative.bias is not None:
        scores += relative.bias[heads, None]
    if mask is not None:
        # [1 or n, 1, 1 or L, L]
        scores += (mask[rows] if len(mask) > 1 else mask).transpose(0, 1)
    return scores.softmax(-1)


def _differentiate_scores(
    grad_scores: Tensor,
    query: Tensor,
    key: Tensor,
    relative: RelativePositions,
    grads: RelativePositions,
    heads: slice,
) -> tuple[Tensor, Tensor]:
    """The gradients of a block's scaled queries and of its keys [h, r, L, E]; those of `relative`
    are added to `grads`.
    """
    grad_query, grad_key = grad_scores @ key, grad_scores.transpose(-1, -2) @ query
    # [h, r, L, M]: zero where nothing is read; both tables are read at the same places
    products = grad_scores.new_zeros(*grad_scores.shape[:-1], 2 * grad_scores.shape[-1])
    if relative.keys is not None and grads.keys is not None:
        _shift(products).copy_(grad_scores)
        grad_query += _multiply(products, relative.keys[heads].transpose(1, 2))
        grads.keys[heads] += _sum_products(products, query)
    if relative.queries is not None and grads.queries is not None:
        _shift(products).copy_(grad_scores.transpose(-1, -2))
        grad_key += _multiply(products, relative.queries[heads].transpose(1, 2))
        grads.queries[heads] += _sum_products(products, key)
    if grads.bias is not None:
        grads.bias[heads] += grad_scores.sum(1, dtype=grads.bias.dtype)
    return grad_query, grad_key


def _multiply(states: Tensor, table: Tensor) -> Tensor:
    """States [h, r, L, E] with a table [h, M, E] to [h, r, L, M]."""
    flat = torch.bmm(states.flatten(1, 2), table.transpose(1, 2))
    return flat.unflatten(1, states.shape[1:3])


def _sum_products(products: Tensor, states: Tensor) -> Tensor:
    """[h, r, L, M] and [h, r, L, E] to [h, M, E]."""
    return torch.bmm(products.flatten(1, 2).transpose(1, 2), states.flatten(1, 2))


def _shift(products: Tensor) -> Tensor:
    """The places [h, r, L, L] of products [h, r, L, M] that the distances of a row's tokens have:
    a view.
    """
    length, width = products.shape[-2:]
    *outer, _, _ = products.stride()
    size, stride = (*products.shape[:-1], length), (*outer, width - 1, 1)
    return products.as_strided(size, stride, products.storage_offset() + length - 1)


def _mask_if_any(weights: Tensor, keep: Tensor | None) -> Tensor:
    return weights if keep is None else apply_keep_mask(weights, keep)
