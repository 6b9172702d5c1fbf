"""Processes of ours: which one is which, how a helper is started, how it ends with its parent, and
how a whole group of processes is ended.

A helper holds the read end of a pipe whose other end its parent alone holds. The system closes that
end when the parent ends, also after `kill -9`, so the helper always learns of it: that pipe is its
lifeline.
"""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import parent_process
from pathlib import Path
from typing import IO, Any

from src.core.files import CODE_ROOT, IS_INSTALLED, PROJECT_ROOT, ROOT_VARIABLE

# for a killed group to be gone
_KILL_WAIT_SECONDS = 3.0


def get_process_identity() -> str:
    """Name this process among all processes of all machines: host, boot, process namespace, id and
    start time, separated by spaces.
    """
    import psutil

    started_at = psutil.Process().create_time()
    return " ".join((*identify_machine(), str(os.getpid()), f"{started_at:.2f}"))


def identify_machine() -> tuple[str, str, str]:
    """Host name, boot id and process namespace: within these three, a process id is unique."""
    import psutil

    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot, namespace = f"{psutil.boot_time():.0f}", "-"
    return platform.node().replace(" ", "_"), boot, namespace


def is_process_alive(process_id: int, started_at: str) -> bool:
    """Say whether a process of this machine still runs.

    Args:
        process_id: its id. Another process that has been given the same id since does not count.
        started_at: its start time, as `get_process_identity` writes it.
    """
    import psutil

    try:
        process = psutil.Process(process_id)
        is_same = f"{process.create_time():.2f}" == started_at
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_process_gone(identity: str) -> bool:
    """Say whether a process has certainly ended.

    False for a process of another machine or container, which cannot be seen from here.

    Args:
        identity: as `get_process_identity` gives it.
    """
    words = identity.split()
    host, boot, namespace = identify_machine()
    if len(words) != 5 or words[0] != host:
        return False
    if words[1] != boot:
        # this machine was started again since
        return True
    return words[2] == namespace and not is_process_alive(int(words[3]), words[4])


def name_places() -> dict[str, str]:
    """The variables with which a child finds `src` from any working folder, even one that has a
    package of this name, and the same `mlruns`.
    """
    known_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # a package that the user allows may lie in the working folder
    path = dict.fromkeys(filter(None, (str(CODE_ROOT), *known_path, os.getcwd())))
    variables = {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}
    return variables | ({ROOT_VARIABLE: str(PROJECT_ROOT)} if IS_INSTALLED else {})


def start_helper(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a helper process in a session of its own, with a lifeline to this process.

    Ctrl-C in a terminal does not reach the session: this process decides how its helper ends. The
    lifeline is the helper's standard input; see `send_order`, `read_order` and
    `call_when_parent_ends`.

    Args:
        command: the program and its arguments; `[sys.executable, "-m", MODULE]` for a module of
            ours, which is found from any working folder.
        environment: variables beside or instead of those of this process.
        stdout, stderr: as `subprocess.Popen` takes them.
    """
    return subprocess.Popen(
        command,
        env={**os.environ, **name_places(), **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def count_usable_cores() -> int:
    """Cores that this process may use; all of the machine's where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def send_order(helper: subprocess.Popen[bytes], order: Mapping[str, Any]) -> None:
    """Tell a helper what to do, as one line of JSON. The lifeline stays open.

    Not as an argument of its command: everybody on the machine may read those.

    Raises:
        OSError: the helper has ended.
    """
    assert helper.stdin is not None
    helper.stdin.write(json.dumps(order).encode() + b"\n")
    helper.stdin.flush()


def read_order() -> dict[str, Any] | None:
    """In a helper: wait for the parent's order. None where the parent ended without giving one."""
    line = sys.stdin.buffer.readline()
    return json.loads(line) if line else None


def call_when_parent_ends(action: Callable[[], object]) -> None:
    """In a helper: call `action` from a thread of its own once the parent has ended, however it
    ended.

    Serves processes of `start_helper` that have read their order, and those of `multiprocessing`
    (`spawn` and `forkserver`), which have such a pipe too.
    """
    parent = parent_process()
    lifeline = sys.stdin.fileno() if parent is None else parent.sentinel

    def wait() -> None:
        # nothing is written any more, so this returns when the pipe closes
        os.read(lifeline, 1)
        action()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def end_process_group(
    leader: "int | subprocess.Popen[bytes]",
    *,
    grace_seconds: float = 0.0,
    signum: int = signal.SIGTERM,
) -> None:
    """End a process that leads a group, and all processes of the group; return when they are gone.

    Args:
        leader: the process; a child that nobody else waits for is given as `Popen`, so that its
            exit is collected.
        grace_seconds: from `signum` to SIGKILL; with 0 they are killed at once.
        signum: the signal that asks them to end; 0 sends none, so that they may end by themselves.
    """
    group = leader if isinstance(leader, int) else leader.pid
    steps: list[tuple[int, float]] = [(signal.SIGKILL, _KILL_WAIT_SECONDS)]
    if grace_seconds:
        steps.insert(0, (signum, grace_seconds))
    # raised as soon as no process is left in the group
    with contextlib.suppress(ProcessLookupError, PermissionError):
        for step_signum, seconds in steps:
            os.killpg(group, step_signum)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if not isinstance(leader, int):
                    leader.poll()
                os.killpg(group, 0)
                time.sleep(0.02)
