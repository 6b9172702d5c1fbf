"""Attention over blocks of its scores on a CPU. Where weights are many, those of each block are
formed, used and dropped, and formed again in the backward pass, to the same bits (Rabe and Staats,
2021).

Shape legend: n rows, H heads, L tokens of a row, Q queries of a row, E width of a head; K keys of a
block.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from src.model.attention.attention_blocks import Block
from src.model.fast_dropout import apply_keep_mask, draw_keep_mask, dropout_scale


class BlockwiseAttention:
    """Attention of one bucket, in blocks.

    Args:
        blocks: of its scores, the same in every iteration.
        dropout: share of the weights that is dropped.
        keeps_weights: whether all weights are kept for the backward pass, and not formed again.
    """

    def __init__(self, blocks: Iterable[Block], dropout: float, *, keeps_weights: bool) -> None:
        self._blocks = blocks
        self._keeps_weights = keeps_weights
        self._dropout = dropout
        # what is dropped is drawn again in the backward pass
        self._seed = int(torch.empty((), dtype=torch.int64).random_()) if dropout else 0

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Queries [n, H, Q, E], scaled already, keys and values [n, H, L, E] to [n, H, Q, E], and
        what the backward pass needs.
        """
        answer, generator = torch.empty_like(query), self._build_generator()
        kept = [query, key, value]
        for block in self._blocks:
            for heads in block.cut_heads(query.shape[1]):
                of_queries = (block.rows, heads, block.queries)
                of_keys = (block.rows, heads, block.keys)
                weights = attention_weights(query[of_queries], key[of_keys], block.bias)
                if self._keeps_weights:
                    kept.append(weights)
                if self._dropout:
                    weights = apply_keep_mask(weights, self._draw_keep_mask(weights, generator))
                answer[of_queries] = weights @ value[of_keys]
        if self._dropout:
            answer *= dropout_scale(self._dropout)
        return answer, kept

    def backward(
        self, grad_answer: Tensor, query: Tensor, key: Tensor, value: Tensor, *kept: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of the scaled queries, and, at least in fp32, those of keys and values;
        `kept` are the weights.
        """
        all_weights = iter(kept)
        grad_query, generator = torch.empty_like(query), self._build_generator()
        # [n, H, E, L]: so that products with few columns have them in front, where they are fast
        grad_key, grad_value = (
            states.new_zeros(
                states.transpose(-1, -2).shape,
                dtype=torch.promote_types(states.dtype, torch.float32),
            )
            for states in (key, value)
        )
        if self._dropout:
            grad_answer = grad_answer * dropout_scale(self._dropout)
        for block in self._blocks:
            for heads in block.cut_heads(query.shape[1]):
                of_queries = (block.rows, heads, block.queries)
                of_keys = (block.rows, heads, block.keys)
                own_query, own_grad = query[of_queries], grad_answer[of_queries]
                own_key, own_value = key[of_keys], value[of_keys]
                weights = (
                    next(all_weights)
                    if self._keeps_weights
                    else attention_weights(own_query, own_key, block.bias)
                )
                grad_weights, kept_weights = own_grad @ own_value.transpose(-1, -2), weights
                if self._dropout:
                    keep = self._draw_keep_mask(weights, generator)
                    kept_weights = apply_keep_mask(weights, keep)
                    grad_weights = apply_keep_mask(grad_weights, keep)
                grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
                grad_query[of_queries] = grad_scores @ own_key
                at = (block.rows, heads, slice(None), block.keys)
                grad_value[at] += own_grad.transpose(-1, -2) @ kept_weights
                grad_key[at] += own_query.transpose(-1, -2) @ grad_scores
        return grad_query, grad_key.transpose(-1, -2), grad_value.transpose(-1, -2)

    def _build_generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed)

    def _draw_keep_mask(self, weights: Tensor, generator: torch.Generator) -> Tensor:
        return draw_keep_mask(weights, self._dropout, generator)


def attention_weights(query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    """Queries [n, H, Q, E], scaled already, and keys [n, H, L, E] to weights [n, H, Q, L]."""
    scores = query @ key.transpose(-1, -2)
    return (scores if bias is None else scores.add_(bias)).softmax(-1)
