"""What each of several trials at a time may use."""

import os

import pytest

from src.search import slots as module
from src.search.slots import Slot, slots, visible_gpus
from src.terms.fault import Fault


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Eight cores, four GPUs, and a person who has said nothing about either."""
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(module, "_count", lambda: 4)
    return monkeypatch


def _gpus(found: list[Slot]) -> list[str]:
    return [each.environment["CUDA_VISIBLE_DEVICES"] for each in found]


@pytest.mark.parametrize(("jobs", "threads"), [(2, 4), (3, 2), (8, 1), (20, 1)])
def test_cores_are_divided(jobs: int, threads: int) -> None:
    assert slots(jobs, 1, "cpu") == [Slot({"OMP_NUM_THREADS": str(threads)}, threads)] * jobs


@pytest.mark.parametrize("jobs", [None, 1])
def test_one_trial_is_left_alone(jobs: int | None) -> None:
    assert slots(jobs, 1, "cpu") == [Slot({}, None)]
    assert slots(jobs, 4, "cpu") == [Slot({}, None)]


def test_cores_are_divided_among_the_processes_of_each_trial() -> None:
    assert slots(2, 2, "cpu") == [Slot({"OMP_NUM_THREADS": "2"}, 2)] * 2


def test_a_persons_threads_stay(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("OMP_NUM_THREADS", "3")
    assert slots(4, 1, "cpu") == [Slot({}, None)] * 4


def test_one_trial_for_each_gpu() -> None:
    found = slots(None, 1, "auto")
    assert _gpus(found) == ["0", "1", "2", "3"]
    assert {each.environment["OMP_NUM_THREADS"] for each in found} == {"2"}
    assert {each.threads for each in found} == {None}


def test_groups_of_gpus(machine: pytest.MonkeyPatch) -> None:
    assert _gpus(slots(None, 2, "gpu")) == ["0,1", "2,3"]
    assert _gpus(slots(None, 3, "gpu")) == ["0,1,2"]
    assert _gpus(slots(None, "auto", "gpu")) == _gpus(slots(None, -1, "gpu")) == ["0,1,2,3"]


def test_more_trials_than_gpus_take_turns() -> None:
    assert _gpus(slots(6, 1, "gpu")) == ["0", "1", "2", "3", "0", "1"]
    assert _gpus(slots(3, 2, "gpu")) == ["0,1", "2,3", "0,1"]
    assert _gpus(slots(2, 1, "gpu")) == ["0", "1"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("2,3", ["2", "3"]),
        ("", []),
        ("-1", []),
        ("1,9,2", ["1"]),
        ("GPU-8932f937, MIG-3f2e", ["GPU-8932f937", "MIG-3f2e"]),
    ],
)
def test_only_what_is_visible(machine: pytest.MonkeyPatch, asked: str, found: list[str]) -> None:
    machine.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert visible_gpus() == found


def test_no_gpu_is_visible_where_there_is_none(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(module, "_count", lambda: 0)
    assert visible_gpus() == []
    machine.setenv("CUDA_VISIBLE_DEVICES", "0,GPU-8932f937")
    assert visible_gpus() == []


def test_a_cpu_trial_sees_the_gpus_as_it_did() -> None:
    assert slots(None, 1, "cpu") == [Slot({}, None)]


def test_more_devices_than_there_are(machine: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fault, match=r"trainer\.devices=5, but the number of GPUs here is 4"):
        slots(None, 5, "auto")
    machine.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(Fault, match=r"trainer\.devices=2, but .* 1 \(CUDA_VISIBLE_DEVICES=1\)"):
        slots(None, 2, "gpu")


def test_a_gpu_where_there_is_none(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(Fault, match=r"trainer\.accelerator=gpu"):
        slots(None, 1, "gpu")
