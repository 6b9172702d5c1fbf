"""Energy used so far, where the hardware counts it: NVIDIA GPUs, and processors with RAPL."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

# Returns the joules since some moment in the past.
EnergyCounter = Callable[[], float]

_POWERCAP = Path("/sys/class/powercap")


def build_energy_counter(
    device: torch.device, *, first_of_machine: bool = True
) -> EnergyCounter | None:
    """Return a counter of the energy that a device uses; None where there is none to read.

    For a GPU it counts that board alone, for a CPU all packages of the machine, whoever uses them.

    Args:
        first_of_machine: only the first process of a machine counts the energy of its packages.
    """
    if device.type == "cuda":
        return _build_gpu_counter(device)
    return _build_rapl_counter(_POWERCAP) if device.type == "cpu" and first_of_machine else None


def _build_gpu_counter(device: torch.device) -> EnergyCounter | None:
    try:
        # Of nvidia-ml-py, the extra `gpu`.
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # Device numbers differ where CUDA_VISIBLE_DEVICES is set.
        uuid = torch.cuda.get_device_properties(device).uuid
        handle: Any = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (pynvml.NVMLError, AttributeError):
        # A GPU older than Volta, a part of a GPU, or a torch without `uuid`.
        return None
    # It counts millijoules.
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000


def _build_rapl_counter(folder: Path) -> EnergyCounter | None:
    """Sum over the packages `intel-rapl:N`, which AMD's have too; `intel-rapl:N:M` are parts."""
    zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    packages = [
        _RaplPackage(zone) for zone in zones if (zone / "name").read_text().startswith("package")
    ]
    try:
        for package in packages:
            package()
    except OSError:
        # Since 2020 only root may read it (CVE-2020-8694).
        return None
    return (lambda: sum(package() for package in packages)) if packages else None


class _RaplPackage:
    """One counter of microjoules, which starts again at its limit."""

    def __init__(self, folder: Path) -> None:
        self._energy_file = folder / "energy_uj"
        self._limit_file = folder / "max_energy_range_uj"
        self._last_microjoules = 0
        self._wrapped_microjoules = 0

    def __call__(self) -> float:
        now = int(self._energy_file.read_text())
        if now < self._last_microjoules:
            self._wrapped_microjoules += int(self._limit_file.read_text())
        self._last_microjoules = now
        return (self._wrapped_microjoules + now) / 1e6
