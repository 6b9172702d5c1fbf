"""A rank that the first process of a run has started: its orders, and how it ends with the first.

The first rank's side is in src/training/launcher.py.
"""

import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from src.core.printing import print_line
from src.core.processes import call_when_parent_ends, read_order

# A broken connection is noticed before the death that broke it.
DISCONNECT_GRACE_SECONDS = 2.0
# A process closes its files a little before it is gone.
_EXIT_WAIT_SECONDS = 5.0
# For the store to record the end of a run whose first rank is gone.
_LOSS_REPORT_SECONDS = 30.0
# What the first rank has sent to this one.
_first_rank_message: dict[str, Any] = {}
# At most one.
_lost_first_rank_hooks: list[Callable[[], object]] = []
_first_rank_exited = threading.Event()


class LostRank(ChildProcessError):
    """Another process of this run has died, or does not answer."""


def run_as_rank(task: Callable[..., object]) -> NoReturn:
    """Prepare, wait for the config from the first rank, and call `task` with it."""
    first_pid = os.getppid()
    from src.core.startup import silence_libraries

    silence_libraries()
    # It takes seconds, in which the first rank reads the data.
    import transformers  # noqa: F401

    message = read_order()
    if message is None:
        # The first rank has failed before training.
        os._exit(0)
    _first_rank_message.update(message)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(message["port"])}
    call_when_parent_ends(lambda: _exit_with_first_rank(first_pid))
    try:
        task(**message["config"])
    except BaseException as error:
        exit_rank(error)
    sys.stdout.flush()
    os._exit(0)


def is_started_by_first_rank() -> bool:
    """True in a process that the first rank of a run has started."""
    return bool(_first_rank_message)


def get_from_first_rank(name: str) -> str | None:
    """Return what the first rank sent under a name.

    None in the first rank itself, and where all ranks were started by a launcher.
    """
    return _first_rank_message.get(name)


def take_from_first_rank(name: str) -> str | None:
    """The same for what holds for the first training of this process alone: it is gone then."""
    return _first_rank_message.pop(name, None)


def is_connection_error(error: BaseException) -> bool:
    """True for an exception which says that the connection to another rank is broken."""
    pattern = (
        "gloo|NCCL|closed by peer|reset by peer|[Bb]roken pipe|"
        "[Cc]onnection (was )?(closed|reset|refused)"
    )
    return isinstance(error, RuntimeError) and re.search(pattern, str(error)) is not None


def on_lost_first_rank(hook: Callable[[], object]) -> None:
    """Register what this rank calls if the first one ends without reporting."""
    _lost_first_rank_hooks[:] = [hook]


def report_lost_first_rank() -> None:
    """Call the hook of `on_lost_first_rank`, for a limited time; the process must end next."""
    time_limit = threading.Timer(_LOSS_REPORT_SECONDS, os._exit, (1,))
    time_limit.daemon = True
    time_limit.start()
    for hook in _lost_first_rank_hooks:
        try:
            hook()
        except Exception as error:
            # The store does not answer. Whoever opens it next will find the run dead.
            print_line(f"the run's end was not recorded ({type(error).__name__})", to_stderr=True)
    time_limit.cancel()


def leave_process_group(*, broken: bool) -> None:
    """Take this process out of torch's process group, so that nothing waits for a rank later."""
    if "torch.distributed" not in sys.modules:
        return
    import torch.distributed as dist
    from torch.distributed import distributed_c10d

    if not (dist.is_available() and dist.is_initialized()):
        return
    abort = getattr(distributed_c10d, "_abort_process_group", None)
    if broken and abort is not None and dist.get_backend() == "nccl":
        # Destroying the group would wait for kernels that wait for a rank that is gone.
        abort()
    else:
        dist.destroy_process_group()


def exit_rank(error: BaseException) -> NoReturn:
    """Print an error and end this process at once.

    No exit handler runs, since some would wait for other ranks.
    """
    print_line("".join(traceback.format_exception(error)), to_stderr=True)
    print_line(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}", to_stderr=True)
    sys.stdout.flush()
    sys.stderr.flush()
    if (
        _first_rank_message
        and is_connection_error(error)
        and _first_rank_exited.wait(DISCONNECT_GRACE_SECONDS)
    ):
        # The thread that has noticed it reports, and ends the process.
        threading.Event().wait()
    os._exit(1)


def _exit_with_first_rank(first_pid: int) -> None:
    """End this process, since the first rank has closed its end of the lifeline."""
    _first_rank_exited.set()
    try:
        deadline = time.monotonic() + _EXIT_WAIT_SECONDS
        while os.getppid() == first_pid and time.monotonic() < deadline:
            time.sleep(0.02)
        if os.getppid() != first_pid:
            report_lost_first_rank()
    finally:
        os._exit(1)
