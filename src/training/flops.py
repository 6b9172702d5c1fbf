"""Floating-point operations of training an encoder, and how many this device can do.

Model operations (Chowdhery et al., 2022, appendix B): what the mathematics needs, matrix products
alone, two for each multiplication and addition, and three times the forward pass for forward and
backward. Counted are real tokens, attention over the sequences as long as they are, and the head
only where an answer is wanted; what a way of computing adds to that (padding, logits nobody asked
for, recomputation) does not count as work.

Shape legend: L tokens of a sequence, D width.
"""

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from src.model.encoder import Encoder

# Takes some 10 ms on a device of 800 TFLOP/s.
_GPU_SIZE, _GPU_REPEATS = 8192, 8
# An idle device takes a while to reach its full clock.
_GPU_WARM_UP_SECONDS = 0.05
# Rows, inner, columns: a small encoder's feed-forward layer.
_CPU_SIZES = (256, 384, 1536)
_CPU_REPEATS = 5
# The weights before attention, in the families that have a fast path.
_ATTENTION_INPUTS = (
    *("query", "key", "value", "Wqkv"),
    *("query_proj", "key_proj", "value_proj"),
    *(".q", ".k", ".v"),
)


class ForwardCost(NamedTuple):
    """Multiply-adds of one forward pass.

    Attributes:
        per_token: in the body's products with weights.
        per_target: in the head's.
        per_pair: of tokens that attend to each other, in one layer.
        windows: for each layer, how far a token attends to either side; None: the whole sequence.
    """

    per_token: int
    per_target: int
    per_pair: int
    windows: tuple[int | None, ...]

    def count_step_flops(self, lengths: Tensor, targets: int) -> float:
        """Return the operations, forward and backward.

        Args:
            lengths: tokens of each sequence, [B].
            targets: number of answers.
        """
        lengths = lengths.double()
        pairs = sum(float(_count_attention_pairs(lengths, window).sum()) for window in self.windows)
        forward = self.per_token * float(lengths.sum()) + self.per_pair * pairs
        forward += self.per_target * targets
        return 3 * 2 * forward


def _count_attention_pairs(lengths: Tensor, window: int | None) -> Tensor:
    """Count the pairs (i, j) of a sequence's tokens with |i - j| <= window, for each length."""
    if window is None:
        return lengths**2
    near = (lengths - 1).clamp(max=window)
    return lengths + near * (2 * lengths - near - 1)


def count_forward_cost(encoder: "Encoder") -> ForwardCost:
    """Count the cost from the weights that the encoder really has, whatever its family.

    Where the last layer, but for its attention, is computed for chosen tokens alone, it counts with
    the head. Not counted are embeddings, which are looked up, DeBERTa's products with relative
    positions, and a generator of replaced tokens.
    """
    config: Any = encoder.config.get_text_config()
    if encoder.knows_layers:
        layers, embedding_modules = encoder.get_layers(), encoder.get_embedding_modules()
        depth = max(getattr(config, "num_hidden_layers", 0), len(layers))
        # ALBERT runs through one layer many times.
        repeated = depth // len(layers)
    else:
        layers, embedding_modules = list(encoder.network.base_model.children()), []
        depth, repeated = getattr(config, "num_hidden_layers", 1), 1
    body = [weight for layer in layers for weight in _list_weights(layer)]
    below = [weight for module in embedding_modules for weight in _list_weights(module)]
    known = set(body) | set(below)
    head = [weight for weight in _list_weights(encoder.network) if weight not in known]
    count = lambda weights: sum(weight.numel() for weight in weights)
    late = (
        count(_list_weights(layers[-1], excluded_suffixes=_ATTENTION_INPUTS))
        if encoder.uses_fast_path and encoder.has_own_head and encoder.pooling == "first"
        else 0
    )
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * depth
    local = getattr(config, "local_attention", 0) // 2 or getattr(config, "sliding_window", None)
    return ForwardCost(
        per_token=count(body) * repeated + count(below) - late,
        per_target=count(head) + late,
        # Scores, and the mean of values.
        per_pair=2 * getattr(config, "hidden_size", 0),
        windows=tuple(local if kind == "sliding_attention" else None for kind in kinds),
    )


def _list_weights(module: nn.Module, excluded_suffixes: tuple[str, ...] = ()) -> list[Tensor]:
    """The matrices that states are multiplied with. Some families hold them outside of linear
    layers: GPT-2 in modules of its own, XLNet as they are.
    """
    others = (nn.Embedding, nn.Conv1d, nn.Conv2d)
    return [
        weight
        for name, part in module.named_modules()
        if not isinstance(part, others)
        # an adapter's layer lies inside of it
        and not name.removesuffix(".base_layer").endswith(excluded_suffixes)
        for weight in part.parameters(recurse=False)
        if weight.ndim > 1
    ]


def measure_peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second of one large matrix product, the best of a few.

    Takes some 20 to 70 ms.
    """
    if device.type == "cuda":
        return _measure_cuda_peak(device, dtype)
    rows, inner, columns = _CPU_SIZES
    left, right = (torch.ones(size, inner, dtype=dtype) for size in (rows, columns))
    seconds = []
    for _ in range(_CPU_REPEATS):
        begin = time.perf_counter()
        torch.nn.functional.linear(left, right)
        seconds.append(time.perf_counter() - begin)
    return 2 * rows * inner * columns / min(seconds)


def _measure_cuda_peak(device: torch.device, dtype: torch.dtype) -> float:
    left, right = (torch.randn(_GPU_SIZE, _GPU_SIZE, device=device, dtype=dtype) for _ in range(2))
    out = torch.mm(left, right)
    torch.cuda.synchronize(device)
    begin = time.perf_counter()
    while time.perf_counter() - begin < _GPU_WARM_UP_SECONDS:
        torch.mm(left, right, out=out)
        torch.cuda.synchronize(device)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(_GPU_REPEATS + 1)]
    events[0].record()
    for event in events[1:]:
        torch.mm(left, right, out=out)
        event.record()
    torch.cuda.synchronize(device)
    # milliseconds
    best = min(begin.elapsed_time(end) for begin, end in pairwise(events))
    return 2 * _GPU_SIZE**3 / (best / 1000)
