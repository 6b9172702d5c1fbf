"""What a trial asks of a Ray cluster, and what is refused; no cluster is needed for that."""

import importlib.util
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from src.core.user_errors import UserError
from src.search.run import ray_cluster, ray_pool
from src.search.run.devices import DeviceSlot
from src.search.run.ray_cluster import (
    TrialResources,
    check_trainer,
    connect_to_ray,
    pick_environment,
    resolve_resources,
)
from src.search.run.ray_pool import RayPool
from src.search.run.trial_workers import enter_workers
from src.search.samplers import Grid
from src.search.search_config import RayCluster, Search


@pytest.mark.parametrize(
    ("trainer", "has_gpus", "expected"),
    [
        ({"accelerator": "auto", "devices": 1}, False, TrialResources(3, 0)),
        ({"accelerator": "auto", "devices": 2}, True, TrialResources(6, 2)),
        ({"accelerator": "cpu", "devices": 2}, True, TrialResources(6, 0)),
        ({"accelerator": "gpu"}, False, TrialResources(3, 1)),
        ({"accelerator": "cpu", "devices": "auto"}, True, TrialResources(3, 0)),
    ],
)
def test_a_trial_asks_for_the_devices_of_its_trainer(
    trainer: dict[str, Any], has_gpus: bool, expected: TrialResources
) -> None:
    assert resolve_resources(RayCluster(cores=3), trainer, has_gpus=has_gpus) == expected


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        (
            {"accelerator": "auto", "devices": "auto"},
            "trainer.devices=auto: Ray places a trial by the number of its GPUs; trainer.devices=1 "
            "says how many",
        ),
        (
            {"accelerator": "cpu", "num_nodes": 2},
            "trainer.num_nodes=2: a trial on Ray runs on one node; search.launcher=ray has "
            "trainer.num_nodes=1",
        ),
    ],
)
def test_what_ray_cannot_place_is_refused(trainer: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        check_trainer(trainer, has_gpus=True)
    assert str(refused.value) == message


@pytest.mark.parametrize("address", ["head", "http://head:8265", "ray://head", "auto:1", ""])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    if address == "auto:1":
        # a host may be called so
        RayCluster(address=address)
        return
    with pytest.raises(UserError, match="expected auto, local, HOST:PORT or ray://HOST:PORT"):
        RayCluster(address=address)


def test_ray_that_is_not_installed_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as refused, connect_to_ray(RayCluster()):
        pass
    assert str(refused.value) == (
        "search.launcher=ray: it needs the package ray, which is not installed; "
        "pip install -e '.[ray]' installs it"
    )


@pytest.mark.parametrize(
    ("launcher", "target", "message"),
    [
        (
            None,
            "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
            "hydra/launcher=ray: its trials would neither survive their nodes nor be stopped; "
            "search.launcher=ray in its place runs trials on Ray",
        ),
        (
            "ray",
            "hydra_plugins.submitit.SlurmLauncher",
            "hydra/launcher=SlurmLauncher: search.launcher=ray has its own; leave one of them out",
        ),
    ],
)
def test_launchers_of_hydra_beside_ray_are_refused(
    launcher: Any, target: str, message: str
) -> None:
    search = Search(sampler=Grid(), monitor="val/loss", mode="min", space={}, launcher=launcher)
    with pytest.raises(UserError) as refused:
        enter_workers(search, {}, target, None)  # type: ignore[arg-type]
    assert str(refused.value) == message


def test_trials_have_the_variables_of_the_sweep_and_ray_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
        "MLFLOW_TRACKING_PASSWORD": "p",
        "MLFLOW_TRACKING_URI": "postgresql://me:p@host/base",
        "HF_TOKEN": "t",
        "HF_HUB_OFFLINE": "1",
        "EDITOR": "vi",
    }.items():
        monkeypatch.setenv(name, value)
    shown, hidden = pick_environment(secret=False), pick_environment(secret=True)
    assert {"MLFLOW_HTTP_REQUEST_TIMEOUT", "HF_HUB_OFFLINE"} <= shown.keys()
    assert {"MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI", "HF_TOKEN"} <= hidden.keys()
    assert not shown.keys() & hidden.keys() and "EDITOR" not in {**shown, **hidden}


def test_slots_come_and_go_with_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "_POLL_SECONDS", -1.0)
    monkeypatch.setattr(ray_pool, "pick_environment", lambda *, secret: {})
    places = (2, 3)
    monkeypatch.setattr(ray_pool, "count_places", lambda resources: places)
    pool, free = RayPool(RayCluster(cores=2), {"accelerator": "cpu"}), list[DeviceSlot]()
    said = pool.adjust_slots(free, used=0)
    assert said == "ray: 2 nodes with room for 3 trials at a time, 2 cores for one"
    assert free == [DeviceSlot({"OMP_NUM_THREADS": "2"}, 2)] * 3
    assert pool.adjust_slots(free, used=0) is None and len(free) == 3
    places = (1, 1)
    free.pop()
    assert pool.adjust_slots(free, used=1) is not None and free == []
    # as many as are asked for, whatever there is: nodes may join
    several = RayPool(RayCluster(), {"accelerator": "cpu"}, jobs=4)
    several.adjust_slots(free, used=1)
    assert len(free) == 3


def test_a_client_server_that_dies_at_its_start_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []

    def init(**options: Any) -> None:
        tried.append(options["address"])
        if tried.count(options["address"]) < 3:
            raise ConnectionAbortedError("Initialization failure from server")

    stand_in = SimpleNamespace(init=init, shutdown=lambda: tried.append("left"))
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    ray_cluster._init_ray(address="ray://here:1")
    assert tried == ["ray://here:1", "left", "ray://here:1", "left", "ray://here:1"]
    tried.clear()
    monkeypatch.setattr(ray_cluster, "_CLIENT_ATTEMPTS", 1)
    with pytest.raises(ConnectionAbortedError):
        ray_cluster._init_ray(address="ray://here:1")
    assert tried == ["ray://here:1", "left"]
