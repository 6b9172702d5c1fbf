"""What a Ray task does for a trial: it has the trial run in a clean process of its node.

A worker of Ray's stays from task to task. It keeps a process that has imported everything, and each
trial is a copy of that one (src/search/run/worker_pool.py): warm, and yet without anything of the
trial before, such as memory of a GPU. This module is imported on nodes; Ray itself is not.
"""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from src.search.run.worker_pool import TrialJob, WorkerPool

# Ray sets it in its own process
_VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
# between two looks whether the trial is to end
_POLL_SECONDS = 0.2

# of this worker of Ray's, from its first trial on
_pool: WorkerPool | None = None


def run_on_node(
    job: TrialJob, gpus: int, *, warm: bool, preload: str, task: Callable[[TrialJob], int]
) -> int:
    """Run a trial in a process of its own and return its exit code; negative: ended by that signal.

    An interrupt of Ray's (`ray.cancel`) is passed on to the trial, which ends in its own time.

    Args:
        gpus: of the trial. Ray hides none of them from a task that has asked for none.
        warm, preload, task: as `WorkerPool` takes them.
    """
    pool = _enter_pool(warm, preload, task)
    visible = os.environ.get(_VISIBLE_DEVICES, "") if gpus else ""
    received: list[int] = []

    def note(signum: int, _: FrameType | None) -> None:
        received.append(signum)

    before = signal.signal(signal.SIGINT, note)
    try:
        environment = {**job.environment, _VISIBLE_DEVICES: visible}
        pool.start_trial(0, job._replace(environment=environment))
        while not (exits := pool.wait_for_exits(_POLL_SECONDS)):
            while received:
                pool.send_signal(received.pop(0))
        return exits[0].code
    finally:
        signal.signal(signal.SIGINT, before)


def warm_up(*, warm: bool, preload: str, task: Callable[[TrialJob], int]) -> None:
    """Import in this worker of Ray's what its trials need; the parameters are those of
    `run_on_node`.
    """
    _enter_pool(warm, preload, task).wait_until_warm()


def _enter_pool(warm: bool, preload: str, task: Callable[[TrialJob], int]) -> WorkerPool:
    global _pool
    if _pool is None:
        # Ray's own program, which every trial would import again
        vars(sys.modules["__main__"]).pop("__file__", None)
        _pool = WorkerPool(warm=warm, preload=preload, task=task)
        # left with this process: its end is the end of the trial and of the warm process
        _pool.__enter__()
    return _pool
