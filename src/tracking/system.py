"""What a run asks of its machine, sampled by a thread of its own."""

import importlib.util
import threading
import time
from typing import Any

import psutil

from src.tracking.sender import Sender

_PERIOD_SECONDS = 5.0


class Sampler:
    """Samples to `system/*` while it is entered, and once at its end: a short run has one sample too.

    Steps are the seconds since the run began; of a run that goes on `first_step` is the step after its last. A
    gigabyte is 1e9 bytes; memory is that of this process.
    """

    def __init__(self, sender: Sender, first_step: int = 0) -> None:
        self._sender = sender
        self._first_step = first_step
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system metrics", daemon=True)
        self._process = psutil.Process()
        self._gpus: list[Any] = []
        self._started_at = 0.0

    def __enter__(self) -> "Sampler":
        self._started_at = time.monotonic()
        psutil.cpu_percent()  # the first call only sets the mark to measure from
        self._gpus = _gpus()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_PERIOD_SECONDS):
            self._sample()
        self._sample()

    def _sample(self) -> None:
        values = {
            "system/cpu_percent": psutil.cpu_percent(),
            "system/memory_gigabytes": self._process.memory_info().rss / 1e9,
        }
        for place, gpu in enumerate(self._gpus):
            values |= _gpu_values(place, gpu)
        self._sender.put(values, self._first_step + int(time.monotonic() - self._started_at))


def _gpus() -> list[Any]:
    """NVML's handles; none where there is no library, no driver or no card."""
    if importlib.util.find_spec("pynvml") is None:
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(each) for each in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []


def _gpu_values(place: int, gpu: Any) -> dict[str, float]:
    import pynvml

    try:
        return {
            f"system/gpu_{place}_percent": float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
            f"system/gpu_{place}_memory_gigabytes": pynvml.nvmlDeviceGetMemoryInfo(gpu).used / 1e9,
        }
    except pynvml.NVMLError:  # a card that is shared out may not tell
        return {}
