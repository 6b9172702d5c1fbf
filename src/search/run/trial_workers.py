"""What runs the trials of a sweep: processes of this machine, tasks of a Ray cluster, or a launcher
of Hydra's.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

from src.core.user_errors import UserError
from src.search.run.devices import DeviceSlot, allocate_slots
from src.search.run.worker_pool import ProcessExit, TrialJob, WorkerPool

if TYPE_CHECKING:
    from src.search.search_config import Search


class TrialWorkers(Protocol):
    """Starts trials in processes and ends them; `WorkerPool` says what its methods do.

    Attributes:
        running: the trials whose ends have not been told yet, with their process ids where these
            are known, else 0.
    """

    running: dict[int, int]

    def start_trial(self, number: int, job: TrialJob) -> None: ...

    def wait_for_exits(self, seconds: float) -> list[ProcessExit]: ...

    def send_signal(self, signum: int, number: int | None = None) -> None: ...

    def kill_all(self) -> None: ...

    def adjust_slots(self, free: list[DeviceSlot], used: int) -> str | None:
        """Have as many slots as trials find room now, by changing the list of the free ones.

        Args:
            free: no trial has them.
            used: the number of the others.

        Returns:
            What has changed, in words; None if nothing has.
        """


def enter_workers(
    search: "Search", trainer: Mapping[str, Any], launcher_target: str | None, stack: ExitStack
) -> tuple[TrialWorkers | None, list[DeviceSlot]]:
    """Enter what runs trials, and divide among them what it has.

    Args:
        trainer: the node of a trial in which nothing of the space is set.
        launcher_target: the launcher of Hydra's that was chosen; None for its default.
        stack: leaves it at the end of the sweep.

    Returns:
        The workers and the slots of the first trials; None and no slots where a launcher of Hydra's
        runs the trials.

    Raises:
        UserError: no trial would find room, or a cluster does not answer.
    """
    launcher = search.launcher
    if launcher_target and "ray_launcher" in launcher_target:
        raise UserError(
            "its trials would neither survive their nodes nor be stopped",
            key="hydra/launcher",
            value="ray",
            hint="search.launcher=ray in its place runs trials on Ray",
        )
    if launcher == "hydra" or (launcher is None and launcher_target):
        return None, []
    if launcher == "ray":
        if launcher_target:
            raise UserError(
                "search.launcher=ray has its own",
                key="hydra/launcher",
                value=launcher_target.split(".")[-1],
                hint="leave one of them out",
            )
        from src.search.run.ray_pool import RayPool

        pool = RayPool(search.ray, trainer, jobs=search.jobs, warm=search.warm)
        return stack.enter_context(pool), []
    devices, accelerator = trainer.get("devices", 1), trainer.get("accelerator", "auto")
    slots = allocate_slots(search.jobs, devices, accelerator)
    return stack.enter_context(WorkerPool(warm=search.warm)), slots
