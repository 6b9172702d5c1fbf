"""The trials of a sweep as tasks of a Ray cluster, in the place of processes of this machine.

Ray chooses the node of each trial by what the trial asks for. On the node it runs as any trial
does, in a process of its own that tells the study how it ends (src/search/run/ray_task.py); a node
that dies is told to the sweep, which has the trial go on elsewhere.
"""

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from src.core.formatting import format_quantity
from src.core.user_errors import UserError
from src.search.run.devices import DeviceSlot
from src.search.run.ray_cluster import (
    TrialResources,
    check_trainer,
    connect_to_ray,
    count_places,
    has_gpus,
    pick_environment,
    resolve_resources,
)
from src.search.run.ray_task import run_on_node, warm_up
from src.search.run.worker_pool import GRACE_SECONDS, ProcessExit, TrialJob, run_trial_job

if TYPE_CHECKING:
    from src.search.search_config import RayCluster

# between two looks which nodes there are
_POLL_SECONDS = 2.0


class RayPool:
    """Starts trials on a cluster while it is entered, and ends what still runs when it is left. Its
    methods are those of `WorkerPool`.

    Args:
        trainer: the node of a trial in which nothing of the space is set; it says for how many
            trials there is room.
        jobs: trials at a time; None: as many as find room. A number counts as it is: trials that
            find no room wait until a node has some, or joins.
        warm, preload, task: as `WorkerPool` takes them, for the pools of the nodes.

    Attributes:
        running: the trials whose ends have not been told yet.
    """

    def __init__(
        self,
        cluster: "RayCluster",
        trainer: Mapping[str, Any],
        *,
        jobs: int | None = None,
        warm: bool = True,
        preload: str = "src.search.run.preload",
        task: Callable[[TrialJob], int] = run_trial_job,
    ) -> None:
        self.running: dict[int, int] = {}
        self._cluster = cluster
        self._trainer = trainer
        self._jobs = jobs
        self._options = {"warm": warm, "preload": preload, "task": task}
        self._exit_stack = ExitStack()
        self._has_gpus = False
        # by the reference to what its task returns
        self._numbers: dict[Any, int] = {}
        self._cancelled: set[int] = set()
        self._places = (0, 0)
        self._places_read_at = float("-inf")

    def __enter__(self) -> "RayPool":
        with ExitStack() as stack:
            stack.enter_context(connect_to_ray(self._cluster))
            self._has_gpus = has_gpus()
            check_trainer(self._trainer, has_gpus=self._has_gpus)
            self._warm_up_nodes()
            self._exit_stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while self.running and time.monotonic() < deadline:
            self.wait_for_exits(1.0)
        self.kill_all()
        self._exit_stack.close()

    def start_trial(self, number: int, job: TrialJob) -> None:
        """Hand a trial to Ray, which starts it as soon as a node has room."""
        resources = self._resolve_resources(job.config.get("trainer", self._trainer))
        task = _make_task(run_on_node, f"trial {number}", resources)
        self._numbers[task.remote(job, resources.gpus, **self._options)] = number
        self.running[number] = 0

    def wait_for_exits(self, seconds: float) -> list[ProcessExit]:
        """Wait until a trial has ended, for so long at most; returns those that have."""
        import ray

        if not self._numbers:
            time.sleep(seconds)
            return []
        ready, _ = ray.wait(list(self._numbers), timeout=seconds)
        if ready:
            references = list(self._numbers)
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
        exits = [_read_exit(self._numbers[reference], reference) for reference in ready]
        for reference in ready:
            number = self._numbers.pop(reference)
            del self.running[number]
            self._cancelled.discard(number)
        return exits

    def send_signal(self, signum: int, number: int | None = None) -> None:
        """Have one trial or all end after their steps; one that has not begun never begins. Trials
        that were told before end now.

        Ray passes on one signal, SIGINT, whatever `signum` is.
        """
        import ray

        for reference, trial in self._numbers.items():
            if number in (None, trial):
                ray.cancel(reference, force=trial in self._cancelled)
                self._cancelled.add(trial)

    def kill_all(self) -> None:
        """End the workers of all trials now. The trials notice that and end too, after half a
        minute by force.
        """
        self._cancelled.update(self._numbers.values())
        self.send_signal(signal.SIGKILL)

    def adjust_slots(self, free: list[DeviceSlot], used: int) -> str | None:
        """Have as many slots as the nodes have room for; returns how many that are, if it is
        another number than before.
        """
        now = time.monotonic()
        if now - self._places_read_at < _POLL_SECONDS:
            return None
        resources = self._resolve_resources(self._trainer)
        before, self._places = self._places, count_places(resources)
        self._places_read_at = now
        nodes, places = self._places
        wanted = max(0, (places if self._jobs is None else self._jobs) - used)
        free[wanted:] = []
        free += [self._build_slot(resources)] * (wanted - len(free))
        if self._places == before:
            return None
        return (
            f"ray: {format_quantity(nodes, 'node')} with room for "
            f"{format_quantity(places, 'trial')} at a time, {resources} for one"
        )

    def _build_slot(self, resources: TrialResources) -> DeviceSlot:
        cores = self._cluster.cores
        is_on_cpu = not resources.gpus
        environment = {"OMP_NUM_THREADS": str(cores), **pick_environment(secret=True)}
        return DeviceSlot(environment, cores if is_on_cpu else None)

    def _resolve_resources(self, trainer: Mapping[str, Any]) -> TrialResources:
        return resolve_resources(self._cluster, trainer, has_gpus=self._has_gpus)

    def _warm_up_nodes(self) -> None:
        """Have workers of Ray's import what trials need while the sweep is being prepared.

        Raises:
            UserError: no node has what a trial asks for, and none is waited for.
        """
        resources = self._resolve_resources(self._trainer)
        places = count_places(resources)[1]
        if self._jobs is None and not places:
            raise UserError(
                f"no node of the cluster has the {resources} of a trial",
                key="search.ray.address",
                value=self._cluster.address,
                hint="fewer by search.ray.cores or trainer.devices, or with search.jobs=2 two "
                "trials wait for nodes that join",
            )
        task = _make_task(warm_up, "warm-up", resources)
        for _ in range(min(places, self._jobs or places)):
            task.remote(**self._options)


def _make_task(function: Callable[..., Any], name: str, resources: TrialResources) -> Any:
    """A function as a task of Ray's that asks for these resources."""
    import ray

    # which is typed for positional arguments alone
    make_remote: Any = ray.remote
    return make_remote(function).options(
        name=name,
        num_cpus=resources.cores,
        num_gpus=resources.gpus,
        # only the sweep knows whether and where a trial goes on
        max_retries=0,
    )


def _read_exit(number: int, reference: Any) -> ProcessExit:
    """How a trial has ended, as far as Ray knows."""
    import ray
    from ray import exceptions

    try:
        return ProcessExit(number, ray.get(reference))
    except exceptions.TaskCancelledError:
        return ProcessExit(number, -signal.SIGINT)
    except exceptions.OutOfMemoryError:
        # by Ray's watch over the memory of a node
        return ProcessExit(number, -signal.SIGKILL)
    except (exceptions.RayTaskError, exceptions.RuntimeEnvSetupError) as error:
        lines = str(error).strip().splitlines()
        return ProcessExit(
            number,
            1,
            reason="its node could not begin it, where the program must be under the path that it "
            f"has here: {lines[-1] if lines else type(error).__name__}",
        )
    except exceptions.RayError as error:
        return ProcessExit(number, 1, reason=type(error).__name__, is_lost=True)
