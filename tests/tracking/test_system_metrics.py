"""The samples of how much of the machine a run uses."""

import sys
import types
from importlib import machinery
from pathlib import Path

import pytest

from src.tracking.outbox import JournalPosition, Outbox, read_entries
from src.tracking.system_metrics import SystemMetricsSampler
from src.tracking.write_buffer import WriteBuffer


def test_gpus_are_sampled_where_there_is_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nvml(types.ModuleType):
        NVMLError = RuntimeError

        def nvmlInit(self) -> None: ...

        def nvmlDeviceGetCount(self) -> int:
            return 1

        def nvmlDeviceGetHandleByIndex(self, place: int) -> str:
            return f"gpu {place}"

        def nvmlDeviceGetUtilizationRates(self, _: str) -> types.SimpleNamespace:
            return types.SimpleNamespace(gpu=40)

        def nvmlDeviceGetMemoryInfo(self, _: str) -> types.SimpleNamespace:
            return types.SimpleNamespace(used=3_000_000_000)

    fake = Nvml("pynvml")
    fake.__spec__ = machinery.ModuleSpec("pynvml", None)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    box = Outbox(tmp_path, "a" * 32, {})
    buffer = WriteBuffer(box)
    buffer.start()
    with SystemMetricsSampler(buffer, 7):
        pass
    buffer.close()
    [taken, step] = next(
        (entry["values"], entry["step"])
        for entry, _ in read_entries(box.folder, JournalPosition())
        if entry
    )
    assert step == 7
    assert taken["system/gpu_0_percent"] == 40 and taken["system/gpu_0_memory_gigabytes"] == 3
