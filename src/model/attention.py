"""Attention over sequences laid end to end, without padding outside of it and without leaks between neighbours.

Shape legend: B sequences, T tokens of all of them, L tokens of the longest, H heads, E width of a head.

transformers 5 drops packed position ids on their way to encoders, so that `position_ids` alone leaks attention across
documents silently. This module registers an attention function of its own and hands it a `Layout` through the model's
keyword arguments; models outside `supports` are run padded instead (`src/model/encoder.py`).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
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

    Three ways, all exact: rows of one length (a packed row may hold several sequences), one product per sequence
    (long ones), or padding inside the attention alone (short ones of different lengths).
    """

    def __init__(self, tokens: Tokens) -> None:
        self.starts = tokens.starts
        self.total = len(tokens.ids)
        lengths = tokens.starts.diff()
        self.row = tokens.row or (tokens.longest if tokens.longest * tokens.count == self.total else 0)
        self.loops = not self.row and tokens.ids.device.type == "cpu" and self.total >= LOOP_FROM_TOKENS * tokens.count
        self.slots: Tensor | None = None
        self._biases: dict[tuple[int | None, torch.dtype], Tensor | None] = {}
        self._bands: dict[tuple[int, int, torch.dtype], Tensor] = {}
        sequence = torch.repeat_interleave(lengths.long(), output_size=self.total)  # [T]: which sequence a token is of
        if self.row:
            self.sequence = sequence.view(-1, self.row)  # [R, L]
            self.single = tokens.count == self.total // self.row
        elif self.loops:
            self.lengths: list[int] = lengths.tolist()
        else:
            longest = tokens.longest
            self.slots = sequence * longest + (torch.arange(self.total, device=sequence.device) - self.starts[sequence])
            self.filled = torch.arange(longest, device=sequence.device) < lengths[:, None]  # [B, L]

    def bias(self, window: int | None, like: Tensor) -> Tensor | None:
        """What is added to the scores: 0 where a token may look, the lowest number where not. None where every token may.

        The lowest number and not -inf: a slot of padding far from every token has nothing to look at, and would be NaN.
        """
        key = (window, like.dtype)
        if key not in self._biases:
            self._biases[key] = self._bias(window, like)
        return self._biases[key]

    def band(self, length: int, window: int | None, like: Tensor) -> Tensor | None:
        """The bias [1, 1, L, L] of one sequence by itself."""
        if window is None or window >= length:
            return None
        key = (length, window, like.dtype)
        if key not in self._bands:
            self._bands[key] = _lowest_where_not(near(length, window, like.device), like)
        return self._bands[key]

    def _bias(self, window: int | None, like: Tensor) -> Tensor | None:
        if self.row:
            allowed = None if self.single else self.sequence[:, None, :, None] == self.sequence[:, None, None, :]
            length = self.row
        else:
            allowed = self.filled[:, None, None, :]
            length = self.filled.shape[1]
        if window is not None and window < length:
            close = near(length, window, like.device)
            allowed = close if allowed is None else allowed & close
        return None if allowed is None else _lowest_where_not(allowed, like)


def _lowest_where_not(allowed: Tensor, like: Tensor) -> Tensor:
    bias = torch.zeros(allowed.shape, dtype=like.dtype, device=like.device)
    return bias.masked_fill_(~allowed, torch.finfo(like.dtype).min)


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
    core = _matmul if query.device.type == "cpu" else _fused
    if layout.row:
        heads, width = query.shape[1], query.shape[3]
        rows = [each[0].transpose(0, 1).view(-1, layout.row, heads, width).transpose(1, 2) for each in (query, key, value)]
        out = core(*rows, layout.bias(sliding_window, query), scale, dropout)  # [R, H, L, E]
        return out.transpose(1, 2).reshape(1, -1, heads, width), None
    if layout.loops:
        return _each(query, key, value, layout, scale, dropout, sliding_window), None
    return _padded(core, query, key, value, layout, scale, dropout, sliding_window), None


Core = Callable[[Tensor, Tensor, Tensor, Tensor | None, float, float], Tensor]


def _matmul(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
    """Plain products: on CPUs they beat the fused kernel, whose backward is slow there."""
    scores = torch.matmul(query * scale, key.transpose(-1, -2))
    if bias is not None:
        scores = scores + bias
    weights = F.dropout(scores.softmax(-1), dropout)
    return torch.matmul(weights.to(value.dtype), value)


def _fused(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale, dropout_p=dropout)


def _each(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float, dropout: float, window: int | None
) -> Tensor:
    """One product per sequence: no padding at all."""
    outputs = []
    parts = [each[0].split(layout.lengths, dim=1) for each in (query, key, value)]  # each [H, n, E]
    for q, k, v in zip(*parts, strict=True):
        bias = layout.band(q.shape[1], window, q)
        outputs.append(_matmul(q[None], k[None], v[None], bias, scale, dropout).transpose(1, 2))  # [1, n, H, E]
    return torch.cat(outputs, dim=1)


def _padded(
    core: Core,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    scale: float,
    dropout: float,
    window: int | None,
) -> Tensor:
    """Tokens are scattered to [B, L], attended to, and gathered back; all else in the model sees real tokens only."""
    assert layout.slots is not None
    count, longest = layout.filled.shape
    _, heads, _, width = query.shape

    def spread(flat: Tensor) -> Tensor:
        wide = flat.new_zeros(count * longest, heads, width)
        return wide.index_copy(0, layout.slots, flat[0].transpose(0, 1)).view(count, longest, heads, width).transpose(1, 2)

    out = core(spread(query), spread(key), spread(value), layout.bias(window, query), scale, dropout)
    return out.transpose(1, 2).reshape(count * longest, heads, width).index_select(0, layout.slots)[None]


def _no_mask(*args: object, **kwargs: object) -> None:
    """The layout has every border; a mask built by transformers would only cost time."""


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, _no_mask)
