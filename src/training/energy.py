"""Energy used so far, where the hardware counts it: an NVIDIA GPU's own counter, or a processor's (RAPL)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Counter = Callable[[], float]  # joules since some moment in the past

_POWERCAP = Path("/sys/class/powercap")


def counter(device: torch.device, *, first_of_machine: bool = True) -> Counter | None:
    """What counts the energy of training on a device; None where nothing that may be read does.

    Of a GPU its board alone, of a CPU all packages of the machine, whoever uses them (which therefore only the first
    process of a machine counts).
    """
    if device.type == "cuda":
        return _gpu_counter(device)
    return _packages_counter(_POWERCAP) if device.type == "cpu" and first_of_machine else None


def _gpu_counter(device: torch.device) -> Counter | None:
    try:
        import pynvml  # in nvidia-ml-py, the extra `gpu`
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid  # numbers differ where CUDA_VISIBLE_DEVICES is set
        handle: Any = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (pynvml.NVMLError, AttributeError):  # older than Volta, a part of a GPU, or a torch without the identifier
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000  # of millijoules


def _packages_counter(folder: Path) -> Counter | None:
    """The sum over packages `intel-rapl:N` (AMD's too); the parts of each, `intel-rapl:N:M`, are in it already."""
    zones = [each for each in sorted(folder.glob("intel-rapl:*")) if each.name.count(":") == 1]
    packages = [_Package(each) for each in zones if (each / "name").read_text().startswith("package")]
    try:
        for package in packages:
            package()
    except OSError:  # since 2020 only root may read it (CVE-2020-8694)
        return None
    return (lambda: sum(package() for package in packages)) if packages else None


class _Package:
    """One counter of microjoules, which begins anew at its limit."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._limit = folder / "max_energy_range_uj"
        self._last = 0
        self._rounds = 0

    def __call__(self) -> float:
        now = int(self._file.read_text())
        if now < self._last:
            self._rounds += int(self._limit.read_text())
        self._last = now
        return (self._rounds + now) / 1e6
