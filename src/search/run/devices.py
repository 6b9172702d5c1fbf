"""How many trials run at a time, and what each may use: its GPUs, or its share of the cores."""

import contextlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from src.core.processes import count_usable_cores
from src.core.user_errors import UserError

_VISIBLE_DEVICES_VARIABLE = "CUDA_VISIBLE_DEVICES"
_THREADS_VARIABLE = "OMP_NUM_THREADS"
# the driver of AMD's GPUs: torch can use them, but only torch can count them
_AMD_DRIVER_PATH = Path("/dev/kfd")


@dataclass(frozen=True)
class DeviceSlot:
    """What one of the trials that run at the same time may use.

    Args:
        environment: variables for its process.
        threads: of torch in each of its processes if these compute on the CPU (trainer.threads);
            None: as for a run by itself. The environment says it too.
    """

    environment: dict[str, str]
    threads: int | None


def allocate_slots(
    jobs: int | None, devices: int | Literal["auto"], accelerator: str
) -> list[DeviceSlot]:
    """Divide the machine among the trials of a sweep.

    Args:
        jobs: trials at a time; None: as many as there are groups of `devices` GPUs, else one. More
            trials than groups share the groups in turn.
        devices: of each trial (trainer.devices); `auto` or -1: all GPUs, or the CPU as one.
        accelerator: trainer.accelerator.

    Raises:
        UserError: fewer GPUs are visible than a trial needs.
    """
    gpus = visible_gpus() if accelerator in ("auto", "gpu") else []
    if accelerator == "gpu" and not gpus and not _AMD_DRIVER_PATH.exists():
        raise UserError(
            f"trainer.accelerator=gpu, but no GPU is seen{_describe_visible_devices()}; "
            "trainer=cpu or trainer=auto would run"
        )
    wants_all = devices in ("auto", -1)
    if not gpus:
        return _allocate_cpu_slots(jobs or 1, 1 if wants_all else int(devices), accelerator)
    size = len(gpus) if wants_all else int(devices)
    if size > len(gpus):
        raise UserError(
            f"trainer.devices={size}, but the number of GPUs here is "
            f"{len(gpus)}{_describe_visible_devices()}"
        )
    groups = [gpus[start : start + size] for start in range(0, len(gpus) - size + 1, size)]
    count = jobs or len(groups)
    threads = _split_threads(count, size)
    return [
        DeviceSlot(
            {_VISIBLE_DEVICES_VARIABLE: ",".join(groups[slot % len(groups)])} | threads, None
        )
        for slot in range(count)
    ]


def visible_gpus() -> list[str]:
    """The GPUs that a process started here may use, as CUDA_VISIBLE_DEVICES names them: by index or
    UUID.

    CUDA is not initialised: a process that has done so cannot be forked.
    """
    listed = os.environ.get(_VISIBLE_DEVICES_VARIABLE)
    if listed is not None and not listed.strip():
        return []
    count = _count_gpus()
    if listed is None:
        return [str(index) for index in range(count)]
    visible: list[str] = []
    for name in map(str.strip, listed.split(",")):
        index = int(name) if name.lstrip("-").isdigit() else None
        if not count or not name or (index is not None and not 0 <= index < count):
            # CUDA too ignores what follows an invalid index
            break
        visible.append(name)
    return visible


def _count_gpus() -> int:
    """The number of GPUs that NVIDIA's driver knows here."""
    with contextlib.suppress(ImportError):
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return 0
        try:
            return int(pynvml.nvmlDeviceGetCount())
        finally:
            pynvml.nvmlShutdown()
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    if listing.returncode != 0:
        return 0
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())


def _allocate_cpu_slots(count: int, processes: int, accelerator: str) -> list[DeviceSlot]:
    variables = _split_threads(count, processes)
    threads = None
    if variables and accelerator in ("auto", "cpu"):
        threads = int(variables[_THREADS_VARIABLE])
    return [DeviceSlot(dict(variables), threads) for _ in range(count)]


def _split_threads(count: int, processes: int) -> dict[str, str]:
    """The variable for the threads of each process, where `count` trials of so many processes share
    the cores; empty for a single trial, or if the user has set it.
    """
    if count == 1 or _THREADS_VARIABLE in os.environ:
        return {}
    cores = count_usable_cores()
    return {_THREADS_VARIABLE: str(max(1, cores // (count * processes)))}


def _describe_visible_devices() -> str:
    listed = os.environ.get(_VISIBLE_DEVICES_VARIABLE)
    return "" if listed is None else f" ({_VISIBLE_DEVICES_VARIABLE}={listed})"
