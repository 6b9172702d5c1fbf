"""A Ray cluster on this machine for tests and benchmarks: nodes with loopback addresses of their
own, which join, leave and are killed.
"""

import contextlib
import os
import shutil
import socket
import tempfile
import warnings
from typing import Any

import psutil

_HEAD_ADDRESS = "127.0.0.2"
_OBJECT_STORE_BYTES = 80_000_000


class RayNodes:
    """A head without cores, and nodes that run trials.

    Attributes:
        address: for `search.ray.address`.
        client_address: the same for a machine that is no node.
        nodes: those that run trials, in the order in which they have joined.
    """

    def __init__(self) -> None:
        self.address = self.client_address = ""
        self.nodes: list[Any] = []
        self._cluster: Any = None
        # short, since paths of sockets are
        self._folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
        self._joined = 0

    def start(self, nodes: int = 2) -> None:
        """Start the head and so many nodes of one core; takes some 15 s."""
        # read by the processes of the cluster, which this process starts
        os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
        from ray._common.utils import get_default_ray_temp_dir
        from ray.cluster_utils import Cluster

        # the head writes its address there, whatever its own folder, and does not make it
        os.makedirs(get_default_ray_temp_dir(), exist_ok=True)
        with socket.create_server((_HEAD_ADDRESS, 0)) as free:
            client_port = free.getsockname()[1]
        self._cluster = Cluster()
        with warnings.catch_warnings():
            # Ray leaves the files of its client server open
            warnings.simplefilter("ignore", ResourceWarning)
            self._cluster.add_node(
                num_cpus=0,
                node_ip_address=_HEAD_ADDRESS,
                include_dashboard=False,
                ray_client_server_port=client_port,
                temp_dir=self._folder,
                object_store_memory=_OBJECT_STORE_BYTES,
            )
        self.address = self._cluster.address
        self.client_address = f"ray://{_HEAD_ADDRESS}:{client_port}"
        for _ in range(nodes):
            self.add_node()

    def add_node(self) -> Any:
        """Have a node with one core join."""
        self._joined += 1
        node = self._cluster.add_node(
            num_cpus=1,
            node_ip_address=f"127.0.0.{2 + self._joined}",
            object_store_memory=_OBJECT_STORE_BYTES,
        )
        self.nodes.append(node)
        return node

    def kill_node(self, node: Any) -> list[int]:
        """SIGKILL to all processes of a node at once, as if its power had failed; returns their
        ids.
        """
        self.nodes.remove(node)
        started = [info.process.pid for infos in node.all_processes.values() for info in infos]
        processes = [psutil.Process(process_id) for process_id in started]
        processes += [child for process in processes for child in process.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._cluster.remove_node(node, allow_graceful=False)
        return [process.pid for process in processes]

    def stop(self) -> None:
        """End all processes of this cluster."""
        if self._cluster is not None:
            self._cluster.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)
