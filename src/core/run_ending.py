"""How a run ends: the status that an exception stands for, and signals as exceptions."""

import contextlib
import os
import signal
import threading
import time
import traceback
from types import FrameType
from typing import Literal, NamedTuple

from src.core.failures import format_error

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

# Time for an optimizer step to end after a signal; schedulers send SIGKILL after 30 seconds.
GRACE_SECONDS = 20.0
# A signal this soon after another is the same one, passed on by a launcher or a terminal.
_DUPLICATE_SECONDS = 1.0
# Ctrl-C, the end of a job, the end of a session, and what SLURM and LSF can be asked to send before
# a job's time is up.
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class TerminatedBySignal(SystemExit):
    """A signal other than Ctrl-C has told the process to end. The exit code is the shell's: 128
    plus the signal's number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


class RunEnding(NamedTuple):
    """A run's last status and, unless it finished, the reason in one line."""

    status: RunStatus
    reason: str | None = None


def classify_ending(error: BaseException | None, stopped_by: int | None = None) -> RunEnding:
    """The status and reason of a run that an exception has ended.

    Args:
        error: the exception; None if the run came to its end.
        stopped_by: the signal that arrived before; `error` is then only its consequence.
    """
    if error is None or (
        isinstance(error, SystemExit) and error.code in (None, 0) and stopped_by is None
    ):
        return RunEnding("FINISHED")
    if isinstance(error, TerminatedBySignal):
        stopped_by = error.signum
    elif find_interrupt(error) is not None:
        stopped_by = signal.SIGINT
    if isinstance(error, ChildProcessError):
        # when one process has died, a launcher ends the others with a signal
        stopped_by = None
    if stopped_by == signal.SIGINT:
        return RunEnding("KILLED", "interrupted (Ctrl-C)")
    if stopped_by is not None:
        return RunEnding("KILLED", f"terminated ({signal.Signals(stopped_by).name})")
    if isinstance(error, SystemExit):
        return RunEnding("FAILED", f"the program ended itself with exit code {error.code}")
    words = format_error(error)
    return RunEnding("FAILED", words if len(words) <= 500 else f"{words[:499]}…")


def find_interrupt(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C behind an exception. Lightning turns it into a bare SystemExit(1)."""
    if isinstance(error, KeyboardInterrupt):
        return error
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        return error.__context__
    return None


def format_traceback(error: BaseException) -> str:
    """The traceback as Python would print it."""
    return "".join(traceback.format_exception(error))


def run_id_of_error(error: BaseException) -> str | None:
    """The id of the run that an exception ended; None where no run had begun."""
    return getattr(error, "_palimpsest_run", None)


class SignalHandler:
    """Context manager that turns signals which end a process into exceptions in the main thread.

    Ctrl-C becomes KeyboardInterrupt, any other signal TerminatedBySignal, at once. While
    `may_finish_step` is set (training can stop between two optimizer steps, see
    src/training/step_control.py), a first signal is only noted in `received_signal`, and sent again
    after `grace_seconds` if the work has not ended by then. A second signal ends the work at once,
    without a last checkpoint. While the run is being closed, a first signal is noted, a second one
    interrupts the closing, and a third ends the process.
    """

    def __init__(self) -> None:
        self.received_signal: int | None = None
        self.may_finish_step = False
        # until a first signal that was only noted is sent again
        self.grace_seconds = GRACE_SECONDS
        # a run that is being ended is not ended again
        self.is_closing = False
        self._signal_count = 0
        self._last_at = 0.0
        self._owner_pid = os.getpid()
        self._previous_handlers: dict[int, object] = {}
        self._grace_timer: threading.Timer | None = None

    def __enter__(self) -> "SignalHandler":
        if threading.current_thread() is threading.main_thread():
            for signum in _END_SIGNALS:
                # nohup means it
                if signal.getsignal(signum) is not signal.SIG_IGN:
                    self._previous_handlers[signum] = signal.signal(signum, self.handle_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._cancel_grace_timer()
        for signum, handler in self._previous_handlers.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def begin_closing(self) -> None:
        """The run is being closed from now on: a signal is noted, and ends the program later."""
        self.is_closing, self.may_finish_step = True, False
        self._cancel_grace_timer()

    def restore_sigterm_handler(self) -> None:
        """Install our handler of SIGTERM again, after Lightning has installed its own."""
        if (
            signal.SIGTERM in self._previous_handlers
            and threading.current_thread() is threading.main_thread()
        ):
            signal.signal(signal.SIGTERM, self.handle_signal)

    def exception_to_raise(
        self, error: BaseException | None
    ) -> KeyboardInterrupt | TerminatedBySignal | None:
        """The exception that must leave the run in place of `error` because a signal has ended it;
        None if `error` may pass as it is.
        """
        if isinstance(error, ChildProcessError):
            return None
        if find_interrupt(error) is not None and self.received_signal in (None, signal.SIGINT):
            return None if isinstance(error, KeyboardInterrupt) else KeyboardInterrupt()
        if self.received_signal is None or isinstance(error, TerminatedBySignal):
            return None
        return (
            KeyboardInterrupt()
            if self.received_signal == signal.SIGINT
            else TerminatedBySignal(self.received_signal)
        )

    def handle_signal(self, signum: int, _: FrameType | None = None) -> None:
        if os.getpid() != self._owner_pid:
            # a forked helper of the run has nothing to record
            os._exit(128 + signum)
        now = time.monotonic()
        if self._signal_count and now - self._last_at < _DUPLICATE_SECONDS:
            return
        self._signal_count, self._last_at = self._signal_count + 1, now
        self.received_signal = signum
        if self.is_closing and self._signal_count > 2:
            os._exit(128 + signum)
        if self._signal_count == 1 and (self.is_closing or self.may_finish_step):
            if self.may_finish_step:
                self._start_grace_timer(signum)
            return
        raise KeyboardInterrupt if signum == signal.SIGINT else TerminatedBySignal(signum)

    def _start_grace_timer(self, signum: int) -> None:
        self._grace_timer = threading.Timer(self.grace_seconds, os.kill, (self._owner_pid, signum))
        self._grace_timer.daemon = True
        self._grace_timer.start()
        name = "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name
        # `print` may be in the middle of a line, so a signal handler must not call it
        with contextlib.suppress(OSError):
            message = f"{name}: ends after this optimizer step, with a checkpoint (again: now)"
            os.write(2, f"\n{message}\n".encode())

    def _cancel_grace_timer(self) -> None:
        if self._grace_timer is not None:
            self._grace_timer.cancel()
            self._grace_timer = None
