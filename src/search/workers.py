"""The processes of trials, as the coordinator of a sweep sees them: begun, waited for, sent signals, ended.

It speaks to one warm process (src/search/warm.py) that starts them, and which is started again where it was lost.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from src.search.warm import GRACE_SECONDS

_ROOT = Path(__file__).resolve().parents[2]
_LOOK_SECONDS = 0.1  # between two looks at processes that nobody reports on any more
_LATER_SECONDS = 5.0  # than its trials may end: the warm process
_DEADLY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)


class Ended(NamedTuple):
    """A trial's process that is gone, with all its helpers.

    Args:
        number: of the trial.
        code: exit code; negative: ended by that signal.
        peak_bytes: the most memory that it had in use; None where nobody could tell.
    """

    number: int
    code: int
    peak_bytes: int | None = None


class Workers:
    """Trials in processes while it is entered; the warm process imports in the background meanwhile.

    Not for use in a signal's handler, but for `wake`.

    Args:
        warm: begin each trial as a copy of a process that has imported everything; else as a fresh process. Only Linux
            can fork such a process safely; elsewhere they are always fresh.
        task: the module that knows what a trial is.

    Attributes:
        running: process id by trial; 0 until it has begun.
    """

    def __init__(self, *, warm: bool = True, task: str = "src.search.warm") -> None:
        self.running: dict[int, int] = {}
        options = [] if warm and sys.platform == "linux" else ["--cold"]
        self._command = [sys.executable, "-m", "src.search.warm", *options, task]
        self._parent: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._outgoing: deque[bytes] = deque()
        self._incoming = b""
        self._orphans: dict[int, psutil.Process] = {}
        self._ended: list[Ended] = []
        self._woken, self._wake = -1, -1

    def __enter__(self) -> "Workers":
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._close()
        finally:
            self.kill()
            os.close(self._woken)
            os.close(self._wake)

    def start(self, number: int, order: Mapping[str, Any]) -> None:
        """Begin a trial, as soon as imports are done.

        Args:
            order: `trial` (its name in the environment), `config` (plain values), `environment` (variables), `log` (a
                file that takes its output, at its end), `arguments` (that stand in its run's command line; optional).
        """
        if self._parent is None:
            self._open()
        self.running[number] = 0
        self._post({"number": number, **order})

    def wait(self, seconds: float) -> list[Ended]:
        """What has ended; comes back as soon as something has, at the latest after `seconds`, and after `wake`."""
        until = time.monotonic() + seconds
        woken = False
        while not (self._ended or woken):
            left = max(0.0, until - time.monotonic())
            woken = self._exchange(min(left, _LOOK_SECONDS) if self._orphans else left)
            self._look_at_orphans()
            if time.monotonic() >= until:
                break
        ended, self._ended = self._ended, []
        for each in ended:
            self.running.pop(each.number, None)
        return ended

    def wake(self) -> None:
        """Have `wait` come back now: for a signal's handler."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b".")

    def send(self, signum: int, number: int | None = None) -> None:
        """A signal for one trial's process, or for all; one that has not begun gets it when it does."""
        numbers = list(self.running) if number is None else [number]
        if numbers and number is None and not self._ready and signum in _DEADLY and not any(self.running.values()):
            self._lose(-signum)  # seconds before the imports are done
            return
        for each in numbers:
            process = self.running.get(each)
            if process:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signum)
            elif process == 0:
                self._post({"signal": signum, "number": each})

    def kill(self) -> None:
        """End all processes now, with their groups; `wait` tells which these were."""
        if self._parent is not None:
            self._lose(-signal.SIGKILL)
        for process in self._orphans.values():
            _end_group(process.pid)

    def _open(self) -> None:
        # Started from any folder, where relative paths mean the same as in the coordinator.
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        self._parent = subprocess.Popen(
            self._command,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the coordinator, which decides what becomes of the trials
        )
        assert self._parent.stdin is not None
        os.set_blocking(self._parent.stdin.fileno(), False)
        self._ready, self._incoming = False, b""

    def _post(self, message: Mapping[str, Any]) -> None:
        self._outgoing.append(json.dumps(message).encode() + b"\n")
        self._flush()

    def _flush(self) -> None:
        """Write what the pipe takes: it is read only when the imports are done."""
        if self._parent is None or self._parent.stdin is None:
            return
        try:
            while self._outgoing:
                written = os.write(self._parent.stdin.fileno(), self._outgoing[0])
                self._outgoing[0] = self._outgoing[0][written:]
                if not self._outgoing[0]:
                    self._outgoing.popleft()
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._outgoing.clear()  # it is gone; reading says so next

    def _exchange(self, seconds: float) -> bool:
        """Read and write what can be, waiting so long for it; whether it was woken."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            if self._parent is not None:
                assert self._parent.stdin is not None and self._parent.stdout is not None
                selector.register(self._parent.stdout, selectors.EVENT_READ)
                if self._outgoing:
                    selector.register(self._parent.stdin, selectors.EVENT_WRITE)
            possible = [key.fileobj for key, _ in selector.select(seconds)]
        self._flush()
        if self._parent is not None and self._parent.stdout in possible and not self._read():
            self._bury(None)
        if self._woken in possible:
            os.read(self._woken, 4096)
        return self._woken in possible

    def _read(self) -> bool:
        """Take in events, waiting for one; False where no more will come: the warm process is gone.

        Its copies hold this pipe too till they have said that they began, so none of them is missed.
        """
        assert self._parent is not None and self._parent.stdout is not None
        read = os.read(self._parent.stdout.fileno(), 65536)
        *lines, self._incoming = (self._incoming + read).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event["event"] == "ready":
                self._ready = True
            elif event["event"] == "began":
                self.running[event["number"]] = event["process"]
            else:
                self._ended.append(Ended(event["number"], event["code"], event["peak_bytes"]))
        return bool(read)

    def _lose(self, code: int) -> None:
        """Kill the warm process, and know what it has begun till then."""
        assert self._parent is not None
        self._parent.kill()
        while self._read():
            pass
        self._bury(code)

    def _bury(self, code: int | None) -> None:
        """The warm process is gone. Its trials end by themselves: they count as running until they have.

        Args:
            code: of trials that have not begun; None: the warm process's own.
        """
        assert self._parent is not None and self._parent.stdin is not None and self._parent.stdout is not None
        own = self._parent.wait() or -signal.SIGKILL
        self._outgoing.clear()
        self._parent.stdin.close()
        self._parent.stdout.close()
        self._parent, self._ready = None, False
        known = {each.number for each in self._ended} | set(self._orphans)
        for number, process in self.running.items():
            if number in known:
                continue
            if process == 0:
                self._ended.append(Ended(number, own if code is None else code))
                continue
            try:
                self._orphans[number] = psutil.Process(process)
            except psutil.NoSuchProcess:
                self._ended.append(Ended(number, -signal.SIGKILL))

    def _look_at_orphans(self) -> None:
        for number, process in list(self._orphans.items()):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    continue
            del self._orphans[number]
            _end_group(process.pid)
            self._ended.append(Ended(number, -signal.SIGKILL))

    def _close(self) -> None:
        """Have everything end in good order. A warm process that still imports has begun nothing."""
        until = time.monotonic() + GRACE_SECONDS + _LATER_SECONDS
        if self._parent is not None and (self._ready or any(self.running.values())):
            assert self._parent.stdin is not None
            self._parent.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._parent.wait(GRACE_SECONDS + _LATER_SECONDS)
        while self._orphans and time.monotonic() < until:
            self._look_at_orphans()
            time.sleep(_LOOK_SECONDS / 10)


def _end_group(process: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
