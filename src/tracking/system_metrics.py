"""System metrics: how much of its machine a run uses, sampled by a thread."""

import importlib.util
import threading
import time
from typing import Any

import psutil

from src.tracking.write_buffer import WriteBuffer

_SAMPLE_INTERVAL_SECONDS = 5.0


class SystemMetricsSampler:
    """Records `system/*` while it is entered, and once when it is left: a short run has one sample.

    The steps of these metrics are seconds since the run began. A gigabyte is 1e9 bytes; memory is
    that of this process.

    Args:
        first_step: for a run that goes on, the step after its last sample.
    """

    def __init__(self, write_buffer: WriteBuffer, first_step: int = 0) -> None:
        self._write_buffer = write_buffer
        self._first_step = first_step
        self._stop_event = threading.Event()
        self._thread = threading.Thread(
            target=self._sample_loop, name="system metrics", daemon=True
        )
        self._process = psutil.Process()
        self._gpus: list[Any] = []
        self._started_at = 0.0

    def __enter__(self) -> "SystemMetricsSampler":
        self._started_at = time.monotonic()
        # the first call only sets the time from which the next one measures
        psutil.cpu_percent()
        self._gpus = _open_gpu_handles()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        self._thread.join()

    def _sample_loop(self) -> None:
        while not self._stop_event.wait(_SAMPLE_INTERVAL_SECONDS):
            self._log_sample()
        self._log_sample()

    def _log_sample(self) -> None:
        values = {
            "system/cpu_percent": psutil.cpu_percent(),
            "system/memory_gigabytes": self._process.memory_info().rss / 1e9,
        }
        for index, gpu in enumerate(self._gpus):
            values |= _read_gpu_metrics(index, gpu)
        self._write_buffer.add_metrics(
            values, self._first_step + int(time.monotonic() - self._started_at)
        )


def _open_gpu_handles() -> list[Any]:
    """Return NVML's handles; none if there is no library, no driver or no GPU."""
    if importlib.util.find_spec("pynvml") is None:
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    except pynvml.NVMLError:
        return []


def _read_gpu_metrics(index: int, gpu: Any) -> dict[str, float]:
    import pynvml

    try:
        return {
            f"system/gpu_{index}_percent": float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
            f"system/gpu_{index}_memory_gigabytes": pynvml.nvmlDeviceGetMemoryInfo(gpu).used / 1e9,
        }
    except pynvml.NVMLError:
        # a GPU that is divided into instances may not tell
        return {}
