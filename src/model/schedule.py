"""How the learning rate goes over a run: up in a straight line, then down, or level and down only at the end."""

import math
from collections.abc import Callable
from typing import Literal

Schedule = Literal["linear", "cosine", "constant", "wsd"]
DecayShape = Literal["linear", "sqrt"]


def rate(
    schedule: Schedule,
    total_steps: int,
    *,
    warmup_fraction: float,
    decay_fraction: float,
    decay_shape: DecayShape,
) -> Callable[[int], float]:
    """The share of the highest rate at each optimizer step, counted from 0; a step after the last would have 0.

    Args:
        schedule: after the warm-up, `linear` and `cosine` go down to 0 over the rest of the run, `constant` stays, and
            `wsd` (warm-up, stable, decay; Hu et al., 2024, section 4) stays until its decay begins.
        total_steps: optimizer steps of the whole run.
        warmup_fraction: of the run, from 0 up to the highest rate.
        decay_fraction: of the run, for the last part of `wsd`; shortened where the warm-up leaves less.
        decay_shape: of that part: `linear`, or `sqrt`, which falls as 1 - sqrt(share of the decay that is over)
            (Hägele et al., 2024, section 3, who found it better than linear).
    """
    warmup = round(warmup_fraction * total_steps)
    falling = max(1, total_steps - warmup)
    if schedule == "wsd":
        falling = min(falling, max(1, round(decay_fraction * total_steps)))

    def at(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if schedule == "constant":
            return 1.0
        left = min(1.0, max(0.0, (total_steps - step) / falling))
        if schedule == "cosine":
            return 0.5 * (1 - math.cos(math.pi * left))
        if schedule == "wsd" and decay_shape == "sqrt":
            return 1 - math.sqrt(1 - left)
        return left

    return at
