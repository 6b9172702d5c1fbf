"""How many trials run at a time, and what each may use: its GPUs, or its share of the cores."""

import contextlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from src.terms.fault import Fault

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_THREADS = "OMP_NUM_THREADS"
_AMD = Path("/dev/kfd")  # the driver of AMD's GPUs: torch can use them, but only torch can count them


@dataclass(frozen=True)
class Slot:
    """The place of one trial among those that run at the same time.

    Args:
        environment: variables for its process.
        threads: of torch in each of its processes, where these are the CPU's (trainer.threads); None: as for a run by
            itself. The environment says it too.
    """

    environment: dict[str, str]
    threads: int | None


def slots(jobs: int | None, devices: int | Literal["auto"], accelerator: str) -> list[Slot]:
    """The places of a sweep's trials.

    Args:
        jobs: trials at a time; None: as many as there are groups of `devices` GPUs, else one. More than there are
            groups share them in turn.
        devices: of each trial (trainer.devices); `auto` or -1: all GPUs, or the CPU as one.
        accelerator: trainer.accelerator.
    """
    gpus = visible_gpus() if accelerator in ("auto", "gpu") else []
    if accelerator == "gpu" and not gpus and not _AMD.exists():
        raise Fault(f"trainer.accelerator=gpu, but no GPU is seen{_asked()}; trainer=cpu or trainer=auto would run")
    every = devices in ("auto", -1)
    if not gpus:
        return _on_cores(jobs or 1, 1 if every else int(devices), accelerator)
    each = len(gpus) if every else int(devices)
    if each > len(gpus):
        raise Fault(f"trainer.devices={each}, but the number of GPUs here is {len(gpus)}{_asked()}")
    groups = [gpus[first : first + each] for first in range(0, len(gpus) - each + 1, each)]
    count = jobs or len(groups)
    threads = _share(count, each)
    return [Slot({_VISIBLE: ",".join(groups[place % len(groups)])} | threads, None) for place in range(count)]


def visible_gpus() -> list[str]:
    """The GPUs that a process started here may use, each as it is named in CUDA_VISIBLE_DEVICES: index or UUID.

    CUDA is not initialised: a process that has done so cannot be forked.
    """
    asked = os.environ.get(_VISIBLE)
    if asked is not None and not asked.strip():
        return []
    there = _count()
    if asked is None:
        return [str(index) for index in range(there)]
    found: list[str] = []
    for name in (each.strip() for each in asked.split(",")):
        number = int(name) if name.lstrip("-").isdigit() else None
        if not there or not name or (number is not None and not 0 <= number < there):
            break  # as CUDA has it: what follows an index that there is not is not visible either
        found.append(name)
    return found


def _count() -> int:
    """How many GPUs NVIDIA's driver knows here."""
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
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines()) if done.returncode == 0 else 0


def _on_cores(count: int, processes: int, accelerator: str) -> list[Slot]:
    threads = _share(count, processes)
    number = int(threads[_THREADS]) if threads and accelerator in ("auto", "cpu") else None
    return [Slot(dict(threads), number) for _ in range(count)]


def _share(count: int, processes: int) -> dict[str, str]:
    """The threads of each process of so many trials, as a variable; none for one, or where a person has set it."""
    if count == 1 or _THREADS in os.environ:
        return {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {_THREADS: str(max(1, cores // (count * processes)))}


def _asked() -> str:
    return f" ({_VISIBLE}={os.environ[_VISIBLE]})" if _VISIBLE in os.environ else ""
