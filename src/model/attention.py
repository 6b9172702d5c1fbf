"""Attention over sequences laid end to end, without padding outside of it and without leaks between neighbours.

Shape legend: B sequences, T tokens of all of them, L tokens of the longest, H heads, E width of a head.

transformers 5 drops packed position ids on their way to encoders, so that `position_ids` alone leaks attention across
documents silently. This module registers an attention function of its own and hands it a `Layout` through the model's
keyword arguments; models outside `supports` are run padded instead (`src/model/encoder.py`).
"""

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from src.terms.batch import Tokens

NAME = "palimpsest"
LOOP_FROM_TOKENS = 96  # mean length from which one product per sequence beats padding inside attention, on CPU

# Families whose layers hand unknown keyword arguments down to the attention function; each one is proved in the tests.
_FAMILIES = {"albert", "bert", "camembert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta"}


def supports(network: PreTrainedModel) -> bool:
    return network.config.model_type in _FAMILIES


class Layout:
    """How the sequences of one batch lie, worked out once and used by every layer.

    Three ways, all exact: full rows (a packed row may hold several sequences), one product per sequence (`loops`, for
    long ones), or padding inside the attention alone (short ones of different lengths).
    """

    def __init__(self, tokens: Tokens) -> None:
        total, count, longest = len(tokens.ids), tokens.count, tokens.longest
        lengths = tokens.starts.diff()
        self.row = tokens.row or longest  # L, where there are rows
        alone = count * self.row == total  # one sequence in each row, and each row full
        ragged = not (alone or tokens.row)
        self.loops = ragged and tokens.ids.device.type == "cpu" and total >= LOOP_FROM_TOKENS * count
        self.lengths: list[int] = lengths.tolist() if self.loops else []
        self.slots: Tensor | None = None  # [T]: the place of each token among rows with padding
        self._borders: Tensor | None = (
            None  # [R, 1, 1 or L, L]: true where a token may look; None where it may anywhere
        )
        self._biases: dict[tuple[int, int | None, torch.dtype], Tensor | None] = {}
        if self.loops or alone:
            return
        sequence = torch.repeat_interleave(lengths.long(), output_size=total)  # [T]: which sequence a token is of
        if tokens.row:
            rows = sequence.view(-1, self.row)
            self._borders = rows[:, None, :, None] == rows[:, None, None, :]
        else:
            place = torch.arange(longest, device=lengths.device)
            self._borders = (place < lengths[:, None])[:, None, None, :]
            self.slots = sequence * longest + tokens.positions
            self._size = count * longest

    def rows(self, flat: Tensor) -> Tensor:
        """[1, H, T, E] to [R, H, L, E]: a view where rows are full, else tokens among padding."""
        tokens = flat[0].transpose(0, 1)
        if self.slots is not None:
            tokens = tokens.new_zeros(self._size, *tokens.shape[1:]).index_copy_(0, self.slots, tokens)
        return tokens.unflatten(0, (-1, self.row)).transpose(1, 2)

    def flat(self, rows: Tensor) -> Tensor:
        """[R, H, L, E] to [1, T, H, E], without the padding."""
        tokens = rows.transpose(1, 2).flatten(0, 1)
        return (tokens if self.slots is None else tokens.index_select(0, self.slots))[None]

    def bias(self, length: int, window: int | None, like: Tensor) -> Tensor | None:
        """What is added to scores of `length` tokens: 0 where one may look, else the lowest number; None where all may.

        The lowest number and not -inf: padding far from every token has nothing to look at, and would be NaN.
        """
        key = (length, window, like.dtype)
        if key not in self._biases:
            allowed = self._borders
            if window is not None and window < length:
                close = near(length, window, like.device)
                allowed = close if allowed is None else allowed & close
            self._biases[key] = None
            if allowed is not None:
                lowest = torch.finfo(like.dtype).min
                self._biases[key] = like.new_zeros(allowed.shape).masked_fill_(~allowed, lowest)
        return self._biases[key]


def near(length: int, window: int, device: torch.device) -> Tensor:
    """[1, 1, L, L] true where |i - j| < window: what transformers calls a bidirectional sliding window."""
    place = torch.arange(length, device=device)
    return ((place[:, None] - place[None, :]).abs() < window)[None, None]


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
    """The function registered with transformers. Returns [1, T, H, E]."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    product = _matmul if query.device.type == "cpu" else _fused
    if layout.loops:
        parts = zip(*(each.split(layout.lengths, dim=2) for each in (query, key, value)), strict=True)
        outputs = [product(q, k, v, layout.bias(q.shape[2], sliding_window, q), scale, dropout) for q, k, v in parts]
        return torch.cat(outputs, dim=2).transpose(1, 2), None
    bias = layout.bias(layout.row, sliding_window, query)
    return layout.flat(product(layout.rows(query), layout.rows(key), layout.rows(value), bias, scale, dropout)), None


def _matmul(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
    """Plain products: on CPUs they beat the fused kernel, whose backward is slow there."""
    scores = torch.matmul(query * scale, key.transpose(-1, -2))
    if bias is not None:
        scores = scores + bias
    weights = nn.functional.dropout(scores.softmax(-1), dropout)
    return torch.matmul(weights.to(value.dtype), value)


def _fused(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
    return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale, dropout_p=dropout)


def _no_mask(*args: object, **kwargs: object) -> None:
    """The layout has every border; a mask built by transformers would only cost time."""


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, _no_mask)
