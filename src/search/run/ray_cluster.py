"""The connection of a sweep to a Ray cluster, and what the nodes of the cluster have."""

import importlib.util
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from src.core.formatting import format_quantity
from src.core.processes import count_usable_cores, name_places
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from src.search.search_config import RayCluster

ADDRESS_KEY = "search.ray.address"
# for the host of an address to accept a connection; Ray itself would try for longer
_CONNECT_SECONDS = 10.0
# of a client of `ray://`
_CLIENT_ATTEMPTS = 3
# shared memory of a cluster that is started here: trials hand over nothing but their exit codes
_OBJECT_STORE_BYTES = 100_000_000
_EXTRA_HINT = "pip install -e '.[ray]' installs it"
_LOCAL_HINT = "search.ray.address=local starts a cluster on this machine for as long as the sweep"


# of variables that programs on nodes must have too, since Ray hands on none
_PASSED_PREFIXES = ("PALIMPSEST_", "HF_", "TRANSFORMERS_", "MLFLOW_", "AWS_")
_SECRET_WORDS = ("TOKEN", "PASSWORD", "SECRET", "KEY")


class TrialResources(NamedTuple):
    """What one trial asks of a node."""

    cores: int
    gpus: int

    def __str__(self) -> str:
        cores = format_quantity(self.cores, "core")
        return f"{cores} and {format_quantity(self.gpus, 'GPU')}" if self.gpus else cores


def resolve_resources(
    cluster: "RayCluster", trainer: Mapping[str, Any], *, has_gpus: bool
) -> TrialResources:
    """What a trial asks of a node: for each of its devices a process, with its cores.

    Args:
        trainer: the trial's node.
        has_gpus: some node of the cluster has GPUs.
    """
    devices, accelerator = trainer.get("devices", 1), trainer.get("accelerator", "auto")
    processes = 1 if devices in ("auto", -1) else int(devices)
    wants_gpus = accelerator == "gpu" or (accelerator == "auto" and has_gpus)
    return TrialResources(processes * cluster.cores, processes if wants_gpus else 0)


def check_trainer(trainer: Mapping[str, Any], *, has_gpus: bool) -> None:
    """Raise UserError for what a trial on Ray cannot be asked: all GPUs of whatever node, or
    several nodes.
    """
    devices, accelerator = trainer.get("devices", 1), trainer.get("accelerator", "auto")
    if devices in ("auto", -1) and accelerator != "cpu" and (has_gpus or accelerator == "gpu"):
        raise UserError(
            "Ray places a trial by the number of its GPUs",
            key="trainer.devices",
            value=devices,
            hint="trainer.devices=1 says how many",
        )
    if trainer.get("num_nodes", 1) != 1:
        raise UserError(
            "a trial on Ray runs on one node",
            key="trainer.num_nodes",
            value=trainer["num_nodes"],
            hint="search.launcher=ray has trainer.num_nodes=1",
        )


@contextmanager
def connect_to_ray(cluster: "RayCluster") -> Iterator[None]:
    """Connect this process to a cluster, or start one here, and leave it at the end.

    Raises:
        UserError: Ray is not installed, or the cluster does not answer.
    """
    address = cluster.address
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
    _require_open_port(address)
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            "it needs the package ray, which is not installed",
            key="search.launcher",
            value="ray",
            hint=_EXTRA_HINT,
        )
    # Ray reports its use to its makers unless it is told not to
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # of a node that was being warmed up; how trials end is asked for
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    options: dict[str, Any] = {}
    if address == "local":
        # else trials run at the lowest priority
        os.environ.setdefault("RAY_worker_niceness", "0")
        options = {
            "num_cpus": count_usable_cores(),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
    import ray

    # Ray takes this signal for itself
    before = signal.getsignal(signal.SIGTERM)
    try:
        _init_ray(
            address=address,
            runtime_env={"env_vars": {**pick_environment(secret=False), **name_places()}},
            **options,
        )
    except Exception as error:
        # whatever Ray, its gRPC or the system raises
        is_none = "Could not find any running Ray instance" in str(error)
        raise UserError(
            "no Ray cluster runs on this machine, and RAY_ADDRESS names none"
            if is_none
            else f"no Ray cluster answers there ({_first_line(error)})",
            key=ADDRESS_KEY,
            value=cluster.address,
            hint=_LOCAL_HINT if is_none else _connection_hint(),
        ) from error
    finally:
        signal.signal(signal.SIGTERM, before)
    try:
        yield
    finally:
        ray.shutdown()


def _init_ray(**options: Any) -> None:
    """Call `ray.init`, again where the server of `ray://`, which starts a process for each client,
    has lost that process at its start.
    """
    import ray

    for attempt in range(1, _CLIENT_ATTEMPTS + 1):
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
            return
        except Exception as error:
            # else this process could not connect a second time
            ray.shutdown()
            if not isinstance(error, ConnectionAbortedError) or attempt == _CLIENT_ATTEMPTS:
                raise


def pick_environment(*, secret: bool) -> dict[str, str]:
    """The variables of this process that trials on nodes are given.

    Args:
        secret: those that nobody else may see. The others are told to Ray, which shows them to
            whoever looks at the cluster, and are there before anything is imported.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_PASSED_PREFIXES) and _is_secret(name, value) == secret
    }


def _is_secret(name: str, value: str) -> bool:
    # an address may hold a password
    return "@" in value or any(word in name for word in _SECRET_WORDS)


def has_gpus() -> bool:
    """Say whether some node of the cluster has GPUs."""
    import ray

    return bool(ray.cluster_resources().get("GPU", 0))


def count_places(resources: TrialResources) -> tuple[int, int]:
    """The number of nodes on which trials find room, and of trials that find room on them."""
    import ray

    places = [
        min(
            int(node["Resources"].get(name, 0) // amount)
            for name, amount in (("CPU", resources.cores), ("GPU", resources.gpus))
            if amount
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return sum(place > 0 for place in places), sum(places)


def _require_open_port(address: str) -> None:
    """Raise UserError where nothing listens, which Ray would find out after a minute."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"nothing listens there ({error.strerror or error})",
            key=ADDRESS_KEY,
            value=address,
            hint="`ray status` on a node of the cluster says whether it runs",
        ) from error


def _connection_hint() -> str:
    """What else keeps a process out of a cluster whose port is open."""
    import ray

    return (
        f"it must run Ray {ray.__version__}, as this process does, and where it asks for a token "
        "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN give it"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
