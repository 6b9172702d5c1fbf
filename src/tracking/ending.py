"""How a run ends: which status an exception means, and how a signal becomes an exception."""

import contextlib
import os
import signal
import threading
import time
import traceback
from types import FrameType
from typing import Literal, NamedTuple

from src.terms.world import message

Status = Literal["FINISHED", "FAILED", "KILLED"]

GRACE_SECONDS = 20.0  # for an optimizer step to end after a signal; schedulers follow with SIGKILL after 30
_ECHO_SECONDS = 1.0  # a launcher or a terminal may hand on what this process was sent too: that is no second signal
# Ctrl-C; the end of a job; the end of a session; what SLURM and LSF are asked to send before a job's time is up.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Terminated(SystemExit):
    """The process was told to end, and not by Ctrl-C. Its code is the shell's: 128 and the signal's number."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


class Ending(NamedTuple):
    """A run's last status and, unless it finished, the reason in one line."""

    status: Status
    reason: str | None = None


def judge(error: BaseException | None, stopped_by: int | None = None) -> Ending:
    """The status that an exception means; `stopped_by` is a signal that arrived before, whatever broke of it."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0) and stopped_by is None):
        return Ending("FINISHED")
    if isinstance(error, Terminated):
        stopped_by = error.signum
    elif interruption(error) is not None:
        stopped_by = signal.SIGINT
    if isinstance(error, ChildProcessError):
        stopped_by = None  # where one process has died, a launcher ends the others with a signal
    if stopped_by == signal.SIGINT:
        return Ending("KILLED", "interrupted (Ctrl-C)")
    if stopped_by is not None:
        return Ending("KILLED", f"terminated ({signal.Signals(stopped_by).name})")
    if isinstance(error, SystemExit):
        return Ending("FAILED", f"the program ended itself with exit code {error.code}")
    words = message(error)
    return Ending("FAILED", words if len(words) <= 500 else f"{words[:499]}…")


def interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C behind an exception. Lightning turns it into a bare SystemExit(1)."""
    if isinstance(error, KeyboardInterrupt):
        return error
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        return error.__context__
    return None


def story(error: BaseException) -> str:
    """The traceback as Python would print it."""
    return "".join(traceback.format_exception(error))


def recorded(error: BaseException) -> str | None:
    """The id of the run that an exception ended; None where no run had begun."""
    return getattr(error, "_palimpsest_run", None)


class Signals:
    """Turns signals that mean the end into exceptions in the main thread while this is entered.

    Ctrl-C becomes KeyboardInterrupt, the others `Terminated`, at once; but while `patient` (a training that can stop
    between two optimizer steps, see src/training/obeying.py) a first signal is only noted in `received`, and sent again
    where that has not come about within `grace_seconds`. A second one ends the work now, without a last checkpoint;
    where it comes while the run is being closed, it cuts that short, and a third ends the process.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.patient = False
        self.grace_seconds = GRACE_SECONDS  # before a first signal that is only noted is sent again
        self.closing = False  # a run that is being ended is not ended again
        self._count = 0
        self._last_at = 0.0
        self._owner = os.getpid()
        self._before: dict[int, object] = {}
        self._again: threading.Timer | None = None

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for signum in _SIGNALS:
                if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup means it
                    self._before[signum] = signal.signal(signum, self.handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_waiting()
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def close(self) -> None:
        """From now on a run is being ended: a signal is noted, and ends the program afterwards."""
        self.closing, self.patient = True, False
        self._stop_waiting()

    def take_back(self) -> None:
        """Put the handler of SIGTERM in its place again, where Lightning has put its own before it."""
        if signal.SIGTERM in self._before and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handle)

    def leaving(self, error: BaseException | None) -> KeyboardInterrupt | Terminated | None:
        """What must leave the run in the place of `error` (None: its end); None where `error` says it already."""
        if isinstance(error, ChildProcessError):
            return None
        if interruption(error) is not None and self.received in (None, signal.SIGINT):
            return None if isinstance(error, KeyboardInterrupt) else KeyboardInterrupt()
        if self.received is None or isinstance(error, Terminated):
            return None
        return KeyboardInterrupt() if self.received == signal.SIGINT else Terminated(self.received)

    def handle(self, signum: int, _: FrameType | None = None) -> None:
        if os.getpid() != self._owner:
            os._exit(128 + signum)  # a forked helper of the run has nothing to record
        now = time.monotonic()
        if self._count and now - self._last_at < _ECHO_SECONDS:
            return
        self._count, self._last_at = self._count + 1, now
        self.received = signum
        if self.closing and self._count > 2:
            os._exit(128 + signum)
        if self._count == 1 and (self.closing or self.patient):
            if self.patient:
                self._wait(signum)
            return
        raise KeyboardInterrupt if signum == signal.SIGINT else Terminated(signum)

    def _wait(self, signum: int) -> None:
        self._again = threading.Timer(self.grace_seconds, os.kill, (self._owner, signum))
        self._again.daemon = True
        self._again.start()
        name = "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name
        with contextlib.suppress(OSError):  # print() might be in the middle of a line: a handler must not call it
            os.write(2, f"\n{name}: ends after this optimizer step, with a checkpoint (again: now)\n".encode())

    def _stop_waiting(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
