"""A training of steps of about 20 ms on one thread, to measure beside it what else a run does."""

import time
from collections.abc import Callable
from statistics import mean, median
from typing import NamedTuple

STEP_SECONDS = 0.02


class Pace(NamedTuple):
    """How long steps took, in milliseconds. `processor` is what all threads of this process used
    for a step.
    """

    processor: float
    mean: float
    median: float

    def __str__(self) -> str:
        return f"{self.processor:.2f} / {self.mean:.2f} / {self.median:.2f}"


class Training:
    """Linear layers, SGD: as many as take `STEP_SECONDS` on this machine."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)
        self._torch = torch
        self._data = torch.randn(64, 192)
        self._grow(60)
        for _ in range(2):
            seconds = self.window(30).processor / 1000
            self._grow(max(1, round(self._layers * STEP_SECONDS / seconds)))

    def _grow(self, layers: int) -> None:
        torch = self._torch
        self._layers = layers
        self._model = torch.nn.Sequential(*[torch.nn.Linear(192, 192) for _ in range(layers)])
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=1e-4)

    def step(self) -> None:
        self._optimizer.zero_grad()
        self._model(self._data).square().mean().backward()
        self._optimizer.step()

    def window(self, steps: int, after_step: Callable[[], object] = lambda: None) -> Pace:
        """Train so many steps, each followed by a call."""
        times = []
        used = time.process_time()
        for _ in range(steps):
            began = time.perf_counter()
            self.step()
            after_step()
            times.append(time.perf_counter() - began)
        used = time.process_time() - used
        return Pace(used / steps * 1000, mean(times) * 1000, median(times) * 1000)


def cost(with_it: list[float], without: list[float]) -> float:
    """How much more the first of each pair took, in percent: the median over the pairs."""
    return (median(one / other for one, other in zip(with_it, without, strict=True)) - 1) * 100


def spread(with_it: list[float], without: list[float]) -> str:
    """The quarter of the pairs that cost least, and that which cost most, as one reads them in a
    table.
    """
    ratios = sorted((one / other - 1) * 100 for one, other in zip(with_it, without, strict=True))
    return f"{ratios[len(ratios) // 4]:+.1f} to {ratios[-1 - len(ratios) // 4]:+.1f} %"
