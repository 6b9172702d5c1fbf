"""Floating-point operations of training an encoder, and how many this device can do.

Model operations (Chowdhery et al., 2022, appendix B): what the mathematics needs, matrix products alone, two for each
multiplication and addition, and three times the forward pass for forward and backward. Counted are real tokens,
attention over the sequences as long as they are, and the head only where an answer is wanted; what a way of computing
adds to that (padding, logits nobody asked for, recomputation) does not count as work.

Shape legend: L tokens of a sequence, D width.
"""

import time
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from src.model.encoder import Encoder

_GPU_SIZE, _GPU_REPEATS = 8192, 8  # some 10 ms on a device of 800 TFLOP/s
_GPU_WARM_UP_SECONDS = 0.05  # an idle device takes a while to its full clock
_CPU_SIZES = (256, 384, 1536)  # rows, inner, columns: a small encoder's feed-forward layer
_CPU_REPEATS = 5
_ATTENTION = (
    "query",
    "key",
    "value",
    "Wqkv",
)  # what attention reads, in the families whose bodies are run without detours


class Cost(NamedTuple):
    """Multiplications and additions of one forward pass."""

    per_token: int  # in the body's products with weights
    per_target: int  # in the head's
    per_pair: int  # of tokens that see each other, in one layer that lets all see all
    windows: tuple[int | None, ...]  # of each layer: how far a token sees to either side; None: the whole sequence

    def step_flops(self, lengths: Tensor, targets: int) -> float:
        """Operations, forward and backward, for sequences of the given lengths and so many answers."""
        lengths = lengths.double()
        pairs = sum(float(_pairs(lengths, window).sum()) for window in self.windows)
        return 3 * 2 * (self.per_token * float(lengths.sum()) + self.per_pair * pairs + self.per_target * targets)


def _pairs(lengths: Tensor, window: int | None) -> Tensor:
    """How many pairs (i, j) of a sequence's tokens have |i - j| <= window."""
    if window is None:
        return lengths**2
    near = (lengths - 1).clamp(max=window)
    return lengths + near * (2 * lengths - near - 1)


def cost(encoder: "Encoder") -> Cost:
    """Counted from the weights that the encoder really has, so that it holds for every family.

    Where the last layer is computed for chosen tokens alone, behind its attention, it is counted with the head. Not
    counted: embeddings, which are looked up, and DeBERTa's products with relative positions.
    """
    config, layers = encoder.config, encoder.layers()
    depth = config.num_hidden_layers
    body = [weight for each in layers for weight in _weights(each)]
    below = [weight for each in encoder.embeddings() for weight in _weights(each)]
    known = set(body) | set(below)
    head = [weight for weight in _weights(encoder) if weight not in known]
    count = lambda weights: sum(each.numel() for each in weights)
    repeated = depth // len(layers)  # ALBERT runs through one layer many times
    late = count(_weights(layers[-1], but=_ATTENTION)) if encoder.lean and not encoder.takes_means else 0
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * depth
    local = getattr(config, "local_attention", 0) // 2
    return Cost(
        per_token=count(body) * repeated + count(below) - late,
        per_target=count(head) + late,
        per_pair=2 * config.hidden_size,  # scores, and the mean of values
        windows=tuple(local if kind == "sliding_attention" else None for kind in kinds),
    )


def _weights(module: nn.Module, but: tuple[str, ...] = ()) -> list[Tensor]:
    named = module.named_modules()
    return [each.weight for name, each in named if isinstance(each, nn.Linear) and not name.endswith(but)]


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of one large matrix product on this device, the best of a few; some 20 to 70 ms."""
    if device.type == "cuda":
        return _cuda_peak(device, dtype)
    rows, inner, columns = _CPU_SIZES
    left, right = (torch.ones(size, inner, dtype=dtype) for size in (rows, columns))
    seconds = []
    for _ in range(_CPU_REPEATS):
        begin = time.perf_counter()
        torch.nn.functional.linear(left, right)
        seconds.append(time.perf_counter() - begin)
    return 2 * rows * inner * columns / min(seconds)


def _cuda_peak(device: torch.device, dtype: torch.dtype) -> float:
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
    best = min(begin.elapsed_time(end) for begin, end in pairwise(events))  # milliseconds
    return 2 * _GPU_SIZE**3 / (best / 1000)
