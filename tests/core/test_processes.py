"""Processes of ours: their names, helpers that end with their parent, groups ended whole."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from src.core import processes
from src.core.processes import (
    end_process_group,
    get_process_identity,
    is_process_alive,
    is_process_gone,
    send_order,
    start_helper,
)

PATIENCE_SECONDS = 30.0
HELPER = """
import sys, threading
from src.core.processes import call_when_parent_ends, read_order
order = read_order()
ended = threading.Event()
call_when_parent_ends(ended.set)
open(order["file"], "w").write("works")
ended.wait()
open(order["file"], "w").write("parent has ended")
"""
PARENT = """
import sys, time
from src.core.processes import send_order, start_helper
helper = start_helper([sys.executable, "-c", {helper!r}])
send_order(helper, {{"file": {file!r}}})
time.sleep(600)
"""
SPAWNING = """
import multiprocessing, time
from tests.core.test_processes import write_when_parent_ends
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    context.Process(target=write_when_parent_ends, args=({file!r},)).start()
    time.sleep(600)
"""
CHILD = """
import signal, time
if {deaf}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(1, flush=True)
time.sleep(600)
"""


def write_when_parent_ends(file: str) -> None:
    def end() -> None:
        Path(file).write_text("parent has ended")
        os._exit(0)

    processes.call_when_parent_ends(end)
    Path(file).write_text("works")
    time.sleep(600)


def until(due: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not due():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def says(file: Path, words: str) -> Callable[[], bool]:
    return lambda: file.exists() and file.read_text() == words


def test_a_process_is_known_from_its_start_to_its_end() -> None:
    assert not is_process_gone(get_process_identity())
    with start_helper(["cat"]) as child:
        started_at = f"{psutil.Process(child.pid).create_time():.2f}"
        identity = " ".join((*processes.identify_machine(), str(child.pid), started_at))
        assert is_process_alive(child.pid, started_at) and not is_process_gone(identity)
        assert not is_process_alive(child.pid, "0.00")
        child.kill()
        # nobody has collected its exit yet
        until(lambda: is_process_gone(identity))
    assert is_process_gone(identity)


def test_a_process_of_elsewhere_is_never_gone_but_one_before_a_reboot_is() -> None:
    host, boot, namespace = processes.identify_machine()
    assert not is_process_gone(f"elsewhere {boot} {namespace} 1 1.00")
    assert not is_process_gone(f"{host} {boot} pid:[1] 1 1.00")
    assert is_process_gone(f"{host} another-boot {namespace} {os.getpid()} 1.00")
    assert not is_process_gone("of an older form")


@pytest.mark.parametrize("ends", ["end", "kill"])
def test_a_helper_ends_with_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    file = tmp_path / "file"
    monkeypatch.chdir(tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(helper=HELPER, file=str(file))],
        env={**os.environ, **processes.name_places()},
    )
    until(says(file, "works"))
    parent.send_signal(signal.SIGKILL if ends == "kill" else signal.SIGINT)
    parent.wait()
    until(says(file, "parent has ended"))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_of_multiprocessing_learns_of_the_end_of_its_parent(
    tmp_path: Path, method: str
) -> None:
    file = tmp_path / "file"
    program = tmp_path / "program.py"
    program.write_text(SPAWNING.format(method=method, file=str(file)))
    parent = subprocess.Popen(
        [sys.executable, program], env={**os.environ, **processes.name_places()}
    )
    until(says(file, "works"))
    parent.kill()
    parent.wait()
    until(says(file, "parent has ended"))


def test_a_helper_without_an_order() -> None:
    program = "from src.core.processes import read_order; print(read_order())"
    helper = start_helper([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert helper.communicate()[0] == b"None\n"


def test_an_order_for_a_helper_that_has_ended() -> None:
    with start_helper(["true"]) as helper:
        helper.wait()
        with pytest.raises(BrokenPipeError):
            send_order(helper, {"file": ""})
        assert helper.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            helper.stdin.close()


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("grace_seconds", [0.0, 0.3])
def test_a_group_is_ended_whole(deaf: bool, grace_seconds: float) -> None:
    child = [sys.executable, "-c", CHILD.format(deaf=deaf)]
    program = f"import subprocess; subprocess.run({child!r})"
    with start_helper([sys.executable, "-c", program], stdout=subprocess.PIPE) as leader:
        assert leader.stdout is not None and leader.stdout.readline() == b"1\n"
        inner = psutil.Process(leader.pid).children()[0]
        end_process_group(leader, grace_seconds=grace_seconds)
        assert leader.returncode == (-signal.SIGTERM if grace_seconds else -signal.SIGKILL)
        assert not inner.is_running() or inner.status() == psutil.STATUS_ZOMBIE
        # there is nobody left
        end_process_group(leader.pid)


def test_a_group_may_end_by_itself() -> None:
    with start_helper(["cat"]) as leader:
        assert leader.stdin is not None
        leader.stdin.close()
        end_process_group(leader, grace_seconds=PATIENCE_SECONDS, signum=0)
        assert leader.returncode == 0
