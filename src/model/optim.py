"""Optimizers that know what must not decay, which layers learn slower, and how long the run is."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from src.terms.bounds import Bound, Fraction, NonNegative, Positive, checked

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

Beta = Annotated[float, Bound(least=0, below=1)]


@checked
@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), none of it on norms and biases.

    Args:
        lr: the highest learning rate, reached after the warm-up.
        warmup_fraction: of all optimizer steps, from 0 up to `lr` in a straight line.
        schedule: the way down to 0 after the warm-up; `constant` stays.
        layer_decay: each layer learns by this factor slower than the one above it (Sun et al., 2019, section 5.3.2;
            1 leaves all alike); the head always learns at `lr`.
    """

    lr: Annotated[float, Bound(above=0, most=1)]
    weight_decay: NonNegative = 0.01
    warmup_fraction: Fraction = 0.06
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    layer_decay: Annotated[float, Bound(above=0, most=1)] = 1.0
    beta1: Beta = 0.9
    beta2: Beta = 0.999
    eps: Positive = 1e-8

    def build(
        self, network: "nn.Module", *, depth: Callable[[str], int], total_steps: int
    ) -> tuple["Optimizer", "LRScheduler"]:
        """Optimizer and schedule (stepped once an optimizer step) over what is trained.

        Args:
            network: every parameter that requires a gradient is trained.
            depth: layers between a parameter, named as in `named_parameters`, and the head (0: the head itself).
            total_steps: optimizer steps of the whole run.
        """
        import torch
        from torch.optim.lr_scheduler import LambdaLR

        depths: dict[nn.Parameter, int] = {}
        for name, parameter in network.named_parameters(remove_duplicate=False):
            if parameter.requires_grad:  # tied weights have two names, and stand as deep as the deeper
                depths[parameter] = max(depth(name), depths.get(parameter, 0))
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter, below in depths.items():
            decay = self.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((self.lr * self.layer_decay**below, decay), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [{"params": each, "lr": rate, "weight_decay": decay} for (rate, decay), each in groups.items()],
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            fused=True,  # one kernel for all parameters: a third of the time of the plain loop
        )
        return optimizer, LambdaLR(optimizer, self.factor(total_steps))

    def factor(self, total_steps: int) -> Callable[[int], float]:
        """The share of the highest rate at each step, counted from 0."""
        warmup = round(self.warmup_fraction * total_steps)

        def at(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            if self.schedule == "constant":
                return 1.0
            left = max(0.0, (total_steps - step) / max(1, total_steps - warmup))
            return left if self.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * left))

        return at
