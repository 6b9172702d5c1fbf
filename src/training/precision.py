"""Which precision is fast on a device, found by trying rather than from a list of processors."""

import time
from typing import Literal

PrecisionName = Literal["fp32", "bf16"]
# Rows, inner and columns of the product that is timed: a small encoder's feed-forward layer.
_MATMUL_SIZES = (1024, 384, 1024)


def choose_precision(device: str) -> tuple[PrecisionName, str]:
    """Choose bf16 where a device multiplies bf16 matrices clearly faster than fp32 ones.

    Args:
        device: torch's name of its type. A GPU is asked for its capability, a CPU is timed, and
            others train in fp32.

    Returns:
        The precision, and the reason in words.
    """
    import torch

    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", f"{torch.cuda.get_device_name()} has bf16 matrix units"
        return "fp32", f"{torch.cuda.get_device_name()} has no bf16 matrix units"
    if device != "cpu":
        return "fp32", f"bf16 is not tried on {device}"
    seconds = {name: _time_matmul(getattr(torch, kind)) for name, kind in _DTYPE_NAMES.items()}
    gain = seconds["fp32"] / seconds["bf16"]
    chosen: PrecisionName = "bf16" if gain > 1.3 else "fp32"
    return chosen, f"a bf16 product takes 1/{gain:.1f} of an fp32 one here"


_DTYPE_NAMES = {"fp32": "float32", "bf16": "bfloat16"}


def _time_matmul(dtype: object) -> float:
    import torch

    rows, inner, columns = _MATMUL_SIZES
    left = torch.ones(rows, inner, dtype=dtype)  # type: ignore[call-overload]
    right = torch.ones(columns, inner, dtype=dtype)  # type: ignore[call-overload]
    best = float("inf")
    # The first ones warm up; the best is what the hardware can do.
    for _ in range(8):
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)
        best = min(best, time.perf_counter() - start)
    return best
