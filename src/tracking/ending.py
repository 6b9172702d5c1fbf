"""How a run ends: which status an exception means, and how a signal becomes an exception."""

import os
import signal
import threading
import traceback
from types import FrameType
from typing import Literal, NamedTuple

Status = Literal["FINISHED", "FAILED", "KILLED"]

# Lightning ends at the next batch; where none comes (a long set-up, a hung worker) the signal is sent again.
_GRACE_SECONDS = 20.0


class Terminated(SystemExit):
    """The process was told to end (SIGTERM, SIGHUP). Its code is the shell's: 128 and the signal's number."""

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
    if interruption(error) is not None:
        return Ending("KILLED", "interrupted (Ctrl-C)")
    if isinstance(error, Terminated):
        stopped_by = error.signum
    if isinstance(error, ChildProcessError):
        stopped_by = None  # where one process has died, a launcher ends the others with a signal
    if stopped_by is not None:
        return Ending("KILLED", f"terminated ({signal.Signals(stopped_by).name})")
    if isinstance(error, SystemExit):
        return Ending("FAILED", f"the program ended itself with exit code {error.code}")
    message = " ".join(str(error).split())
    reason = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return Ending("FAILED", reason if len(reason) <= 500 else f"{reason[:499]}…")


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
    """SIGTERM and SIGHUP raise `Terminated` in the main thread while this is entered.

    While Lightning fits, its own handler calls this one and it ends the loop at the next batch, after a checkpoint;
    raising here at once would lose the batch. Then the signal is only noted in `received`, and sent again after
    `_GRACE_SECONDS`; a second signal always raises.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.closing = False  # a run that is being ended is not ended again
        self._owner = os.getpid()
        self._before: dict[int, object] = {}
        self._again: threading.Timer | None = None

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup means it
                    self._before[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._again is not None:
            self._again.cancel()
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def _handle(self, signum: int, _: FrameType | None) -> None:
        if os.getpid() != self._owner:
            os._exit(128 + signum)  # a forked helper of the run has nothing to record
        first, self.received = self.received is None, signum
        if self.closing:
            return
        shared = signal.getsignal(signum) != self._handle
        if shared and first:
            self._again = threading.Timer(_GRACE_SECONDS, os.kill, (self._owner, signum))
            self._again.daemon = True
            self._again.start()
            return
        raise Terminated(signum)
