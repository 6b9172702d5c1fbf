"""Which arithmetic is fast on a device, found out by trying rather than from a list of processors."""

import time
from typing import Literal

Arithmetic = Literal["fp32", "bf16"]
_SIZES = (1024, 384, 1024)  # rows, inner, columns of the product tried: a small encoder's feed-forward layer


def fastest(device: str) -> tuple[Arithmetic, str]:
    """bf16 where a device multiplies bf16 matrices clearly faster than fp32 ones, and why it was chosen.

    Args:
        device: torch's name of its type: `cuda` is known by its capability, `cpu` is tried, of others nothing is known.
    """
    import torch

    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", f"{torch.cuda.get_device_name()} has bf16 matrix units"
        return "fp32", f"{torch.cuda.get_device_name()} has no bf16 matrix units"
    if device != "cpu":
        return "fp32", f"bf16 is not tried on {device}"
    seconds = {name: _product_seconds(getattr(torch, kind)) for name, kind in _KINDS.items()}
    gain = seconds["fp32"] / seconds["bf16"]
    chosen: Arithmetic = "bf16" if gain > 1.3 else "fp32"
    return chosen, f"a bf16 product takes 1/{gain:.1f} of an fp32 one here"


_KINDS = {"fp32": "float32", "bf16": "bfloat16"}


def _product_seconds(kind: object) -> float:
    import torch

    rows, inner, columns = _SIZES
    left = torch.ones(rows, inner, dtype=kind)  # type: ignore[call-overload]
    right = torch.ones(columns, inner, dtype=kind)  # type: ignore[call-overload]
    best = float("inf")
    for _ in range(8):  # the first ones warm up; the best is what the hardware can do
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)
        best = min(best, time.perf_counter() - start)
    return best
