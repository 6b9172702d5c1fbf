"""What the distance of two tokens adds to their score, in families that learn distances: DeBERTa's
disentangled attention (He et al., 2021, section 3.1) and MPNet's bias (Song et al., 2020).

Shape legend: H heads, E width of a head, D width, L tokens of the longest row of a batch, N
distances that are told apart.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.model.fast_dropout import apply_dropout_module
from src.model.fast_layers import apply_layer_norm, apply_linears


class RelativePositions(NamedTuple):
    """What is added to the score of a query at i and a key at j of one layer; None: nothing.

    The rows of both tables stand so that a query, or a key, finds those of its row's tokens in
    their order (src/model/attention/relative_attention.py).
    """

    keys: Tensor | None = None  # [H, 2 L, E] for i - j = L - 1 to -L: its product with the query
    queries: Tensor | None = None  # [H, 2 L, E] for i - j = 1 - L to L: its product with the key
    bias: Tensor | None = None  # [H, L, L], added as it is

    def shorten(self, length: int) -> "RelativePositions":
        """The same for rows of `length` tokens."""
        part = slice(0)
        for table in (self.keys, self.queries):
            if table is not None:
                middle = table.shape[1] // 2
                part = slice(middle - length, middle + length)
        return RelativePositions(
            None if self.keys is None else self.keys[:, part],
            None if self.queries is None else self.queries[:, part],
            None if self.bias is None else self.bias[:, :length, :length],
        )


# of one layer, anew in each forward pass
RelativeFunction = Callable[[], RelativePositions]


class DistanceTable:
    """DeBERTa's table of distances, which all its layers read, for one batch.

    Args:
        encoder: its layers, with the table.
        length: L.
        dtype: of products.
    """

    def __init__(self, encoder: Any, length: int, dtype: torch.dtype) -> None:
        from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

        weight = encoder.rel_embeddings.weight
        distances = torch.arange(-length, length + 1, device=weight.device)
        buckets, most = encoder.position_buckets, encoder.max_relative_positions
        if buckets > 0 and most > 0:
            distances = make_log_bucket_position(distances, buckets, most).long()
        span = len(weight) // 2
        # [2 L + 1]: the row of the table that each distance has
        rows = (distances + span).clamp(0, 2 * span - 1)
        if weight.device.type == "cpu":
            # those that a batch needs; a GPU would have to be waited for
            first, last = int(rows.min()), int(rows.max())
            weight, rows = weight[first : last + 1], rows - first
        self._falling, self._rising = rows[:-1].flip(0), rows[1:]
        norm = getattr(encoder, "LayerNorm", None)
        # [N, D]
        self._table = weight.to(dtype) if norm is None else apply_layer_norm(weight, norm, dtype)

    def project(self, attention: Any) -> RelativePositions:
        """The positions of one layer, by the projections of tokens or by its own."""
        kinds = [kind for kind in ("c2p", "p2c") if kind in attention.pos_att_type]
        own = {"c2p": "pos_key_proj", "p2c": "pos_query_proj"}
        shared = {"c2p": "key_proj", "p2c": "query_proj"}
        names = shared if attention.share_att_key else own
        table = apply_dropout_module(self._table, attention.pos_dropout)
        projected = apply_linears(table, *(getattr(attention, names[kind]) for kind in kinds))
        # one [H, N, E] of each kind
        parts = projected.unflatten(-1, (len(kinds), attention.num_attention_heads, -1))
        found = dict(zip(kinds, parts.permute(1, 2, 0, 3), strict=True))
        keys, queries = found.get("c2p"), found.get("p2c")
        return RelativePositions(
            None if keys is None else keys.index_select(1, self._falling),
            None if queries is None else queries.index_select(1, self._rising),
        )


def build_bias(encoder: Any, length: int) -> RelativePositions:
    """MPNet's bias, the same in all layers.

    Args:
        encoder: its layers, with the table.
        length: L.
    """
    places = torch.arange(length, device=encoder.relative_attention_bias.weight.device)
    # [L, L]: key less query
    buckets = encoder.relative_position_bucket(places - places[:, None])
    values = encoder.relative_attention_bias(buckets)
    return RelativePositions(bias=values.permute(2, 0, 1).contiguous())
