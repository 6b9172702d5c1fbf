"""What each of several trials at a time may use."""

import os

import pytest

from src.core.user_errors import UserError
from src.search.run import devices as module
from src.search.run.devices import DeviceSlot, allocate_slots, visible_gpus


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Eight cores, four GPUs, and a person who has said nothing about either."""
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(module, "_count_gpus", lambda: 4)
    return monkeypatch


def _gpus(found: list[DeviceSlot]) -> list[str]:
    return [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found]


@pytest.mark.parametrize(("jobs", "threads"), [(2, 4), (3, 2), (8, 1), (20, 1)])
def test_cores_are_divided(jobs: int, threads: int) -> None:
    assert (
        allocate_slots(jobs, 1, "cpu")
        == [DeviceSlot({"OMP_NUM_THREADS": str(threads)}, threads)] * jobs
    )


@pytest.mark.parametrize("jobs", [None, 1])
def test_one_trial_is_left_alone(jobs: int | None) -> None:
    assert allocate_slots(jobs, 1, "cpu") == [DeviceSlot({}, None)]
    assert allocate_slots(jobs, 4, "cpu") == [DeviceSlot({}, None)]


def test_cores_are_divided_among_the_processes_of_each_trial() -> None:
    assert allocate_slots(2, 2, "cpu") == [DeviceSlot({"OMP_NUM_THREADS": "2"}, 2)] * 2


def test_a_persons_threads_stay(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("OMP_NUM_THREADS", "3")
    assert allocate_slots(4, 1, "cpu") == [DeviceSlot({}, None)] * 4


def test_one_trial_for_each_gpu() -> None:
    found = allocate_slots(None, 1, "auto")
    assert _gpus(found) == ["0", "1", "2", "3"]
    assert {slot.environment["OMP_NUM_THREADS"] for slot in found} == {"2"}
    assert {slot.threads for slot in found} == {None}


def test_groups_of_gpus(machine: pytest.MonkeyPatch) -> None:
    assert _gpus(allocate_slots(None, 2, "gpu")) == ["0,1", "2,3"]
    assert _gpus(allocate_slots(None, 3, "gpu")) == ["0,1,2"]
    assert (
        _gpus(allocate_slots(None, "auto", "gpu"))
        == _gpus(allocate_slots(None, -1, "gpu"))
        == ["0,1,2,3"]
    )


def test_more_trials_than_gpus_take_turns() -> None:
    assert _gpus(allocate_slots(6, 1, "gpu")) == ["0", "1", "2", "3", "0", "1"]
    assert _gpus(allocate_slots(3, 2, "gpu")) == ["0,1", "2,3", "0,1"]
    assert _gpus(allocate_slots(2, 1, "gpu")) == ["0", "1"]


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
    machine.setattr(module, "_count_gpus", lambda: 0)
    assert visible_gpus() == []
    machine.setenv("CUDA_VISIBLE_DEVICES", "0,GPU-8932f937")
    assert visible_gpus() == []


def test_a_cpu_trial_sees_the_gpus_as_it_did() -> None:
    assert allocate_slots(None, 1, "cpu") == [DeviceSlot({}, None)]


def test_more_devices_than_there_are(machine: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"trainer\.devices=5, but the number of GPUs here is 4"):
        allocate_slots(None, 5, "auto")
    machine.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(UserError, match=r"trainer\.devices=2, but .* 1 \(CUDA_VISIBLE_DEVICES=1\)"):
        allocate_slots(None, 2, "gpu")


def test_a_gpu_where_there_is_none(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=r"trainer\.accelerator=gpu"):
        allocate_slots(None, 1, "gpu")
