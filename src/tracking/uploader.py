"""Delivery of a run's outbox while the run goes on, without taking the training's time.

MLflow needs about 0.12 ms of Python for a point, and a thread that spends them takes the
interpreter's lock from the training (measured: a quarter of its speed at 2,500 points a second). So
a separate process does it. A young run has none yet: starting one costs two seconds on another
core, more than most tests and trials last. Until then, and at the end, a thread of the run does it.
"""

import functools
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from src.core import processes
from src.core.printing import print_line
from src.core.retry import describe_error
from src.tracking import outbox
from src.tracking.client import StoreSession, connect_to_store
from src.tracking.delivery import DELIVERY_ERRORS, deliver_outbox
from src.tracking.store import Store

_PROCESS_START_SECONDS = 10.0
# what the thread of a young run delivers: 2,000 points, a quarter of a second
_THREAD_LIMIT_BYTES = 64_000
_MAX_PAUSE_SECONDS = 60.0
# for the outbox of a run that ended without reporting; the rest waits until the store is opened
_ORPHAN_DELIVERY_SECONDS = 10.0


class Uploader:
    """Delivers the outbox of a run from `start()` on, and what is left with `close()`.

    Args:
        own_process: False where there is no training to be slowed: the thread delivers throughout.
    """

    def __init__(self, session: StoreSession, folder: Path, *, own_process: bool) -> None:
        self._session = session
        self._folder = folder
        self._pause = _DeliveryPause(
            session.store.flush_seconds, lambda line: print_line(line, to_stderr=True)
        )
        self._started_at = time.monotonic()
        self._stop_event = threading.Event()
        self._patience_seconds = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._may_start_process = own_process
        self._thread = threading.Thread(target=self._upload_loop, name="uploader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, patience_seconds: float) -> bool:
        """Deliver what is left; True if everything has arrived.

        Gives up once the store has taken nothing for `patience_seconds`; the rest stays in the
        outbox.
        """
        self._patience_seconds = patience_seconds
        self._stop_event.set()
        self._thread.join()
        return not self._folder.exists()

    def _upload_loop(self) -> None:
        while not self._stop_event.is_set():
            try:
                self._upload_step()
            except Exception as error:
                # whatever it is, training goes on
                self._pause.on_failure(error)
            self._stop_event.wait(self._pause.seconds)
        if self._process is not None:
            # killed in the middle of a request: what it was sending is sent again
            with self._process:
                self._process.kill()
                self._relay_output(self._process)
        self._upload_remaining()

    def _upload_step(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._relay_output(self._process)
        elif (
            self._may_start_process and time.monotonic() - self._started_at > _PROCESS_START_SECONDS
        ):
            self._start_process()
        elif not self._may_start_process or self._count_waiting_bytes() < _THREAD_LIMIT_BYTES:
            deliver_outbox(
                self._session, self._folder, should_continue=lambda: not self._stop_event.is_set()
            )
            self._pause.on_success()

    def _count_waiting_bytes(self) -> int:
        return outbox.count_bytes_after(self._folder, outbox.read_delivered_position(self._folder))

    def _start_process(self) -> None:
        # one that ended by itself is replaced once
        self._may_start_process = self._process is None
        try:
            self._process = processes.start_helper(
                [sys.executable, "-m", "src.tracking.uploader"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert self._process.stdout is not None
            os.set_blocking(self._process.stdout.fileno(), False)
            order = {"folder": str(self._folder), "store": asdict(self._session.store)}
            processes.send_order(self._process, order)
        except OSError as error:
            self._may_start_process = False
            self._pause.on_failure(error)

    @staticmethod
    def _relay_output(process: subprocess.Popen[bytes]) -> None:
        """Print what the process has printed."""
        assert process.stdout is not None
        while output := _read_waiting(process.stdout.fileno()):
            print_line(output.decode(errors="replace").rstrip("\n"), to_stderr=True)

    def _upload_remaining(self) -> None:
        progress_at, position = time.monotonic(), outbox.read_delivered_position(self._folder)
        while time.monotonic() - progress_at < self._patience_seconds:
            should_continue = functools.partial(_is_before, time.monotonic() + 5.0)
            try:
                result = deliver_outbox(
                    self._session, self._folder, should_continue=should_continue
                )
            except DELIVERY_ERRORS as error:
                self._pause.on_failure(error)
                time.sleep(0.5)
                continue
            if result.is_complete or not self._folder.exists():
                return
            new_position = outbox.read_delivered_position(self._folder)
            if new_position == position:
                time.sleep(0.1)
            else:
                # sent by this delivery, or by another process that is at it
                progress_at, position = time.monotonic(), new_position


def _read_waiting(descriptor: int) -> bytes:
    """What there is to read now; nothing also at the end of the stream."""
    try:
        return os.read(descriptor, 4096)
    except BlockingIOError:
        return b""


class _DeliveryPause:
    """The pause between two deliveries, which grows while the store does not answer.

    That the store does not answer is printed once, and so is that it answers again.
    """

    def __init__(self, flush_seconds: float, print_line: Callable[[str], object]) -> None:
        self.seconds = flush_seconds
        self._flush_seconds = flush_seconds
        self._print_line = print_line
        self._is_failing = False

    def on_failure(self, error: Exception) -> None:
        if not self._is_failing:
            self._print_line(
                "tracking: the store does not answer now and is tried again "
                f"({describe_error(error)})"
            )
        self._is_failing = True
        self.seconds = min(_MAX_PAUSE_SECONDS, max(0.5, self.seconds * 2))

    def on_success(self) -> None:
        if self._is_failing:
            self._print_line("tracking: the store answers again")
        self._is_failing = False
        self.seconds = self._flush_seconds


def _is_before(deadline: float) -> bool:
    return time.monotonic() < deadline


def run_upload_process() -> None:
    """Deliver the outbox of the run that started this process, until the run kills it.

    If the run ends without doing so, what its journal holds is delivered first.
    """
    # the training comes first where cores are few
    os.nice(5)
    order = processes.read_order()
    if order is None:
        return
    run_has_ended = threading.Event()
    processes.call_when_parent_ends(run_has_ended.set)
    # else a fifth of the time would go into walking all modules, since MLflow makes many objects
    gc.freeze()
    gc.set_threshold(100_000)
    store, folder = Store(**order["store"]), Path(order["folder"])
    session: StoreSession | None = None
    pause = _DeliveryPause(store.flush_seconds, functools.partial(print, flush=True))
    while not run_has_ended.wait(pause.seconds):
        try:
            session = session or connect_to_store(store)
            deliver_outbox(session, folder, should_continue=lambda: not run_has_ended.is_set())
            pause.on_success()
        except DELIVERY_ERRORS as error:
            pause.on_failure(error)
    should_continue = functools.partial(_is_before, time.monotonic() + _ORPHAN_DELIVERY_SECONDS)
    with suppress(*DELIVERY_ERRORS):
        deliver_outbox(session or connect_to_store(store), folder, should_continue=should_continue)


if __name__ == "__main__":
    run_upload_process()
