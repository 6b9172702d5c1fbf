"""Counters of energy, on a folder that looks like the kernel's and a library that looks like
NVIDIA's.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from src.training import energy

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def zone(folder: Path, number: str, name: str, microjoules: int, limit: int = 10_000_000) -> Path:
    place = folder / f"intel-rapl:{number}"
    place.mkdir()
    (place / "name").write_text(f"{name}\n")
    (place / "energy_uj").write_text(f"{microjoules}\n")
    (place / "max_energy_range_uj").write_text(f"{limit}\n")
    return place


def test_packages_are_added_up_and_go_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path)
    first = zone(tmp_path, "0", "package-0", 9_000_000)
    zone(tmp_path, "1", "package-1", 1_000_000)
    # a part of the first
    zone(tmp_path, "0:0", "core", 5_000_000)
    # the whole machine, packages included
    zone(tmp_path, "2", "psys", 5_000_000)
    count = energy.build_energy_counter(CPU)
    assert count is not None
    assert count() == 10.0
    # 1.5 joules later
    (first / "energy_uj").write_text("500000")
    assert count() == 11.5
    assert energy.build_energy_counter(CPU, first_of_machine=False) is None


def test_what_cannot_be_read_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path)
    assert energy.build_energy_counter(CPU) is None
    (zone(tmp_path, "0", "package-0", 1) / "energy_uj").unlink()
    assert energy.build_energy_counter(CPU) is None


class _Refused(Exception):
    pass


def _library(joules: list[float], *, refuses: bool = False) -> SimpleNamespace:
    def consumption(handle: str) -> int:
        assert handle == "handle of GPU-1234"
        if refuses:
            raise _Refused
        return int(joules[0] * 1000)

    return SimpleNamespace(
        NVMLError=_Refused,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: f"handle of {name}",
        nvmlDeviceGetTotalEnergyConsumption=consumption,
    )


def test_a_gpu_is_found_by_its_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    joules = [2.5]
    monkeypatch.setitem(sys.modules, "pynvml", _library(joules))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234")
    )
    count = energy.build_energy_counter(GPU)
    assert count is not None
    assert count() == 2.5
    joules[0] = 4.0
    assert count() == 4.0


def test_a_gpu_without_a_counter_or_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234")
    )
    monkeypatch.setitem(sys.modules, "pynvml", _library([1.0], refuses=True))
    assert energy.build_energy_counter(GPU) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy.build_energy_counter(GPU) is None
