"""The way from a living run's outbox to the store, taken without taking the training's time.

MLflow needs about 0.12 ms of Python for a point, and a thread that computes them takes the interpreter's lock from the
training (measured: a quarter of its speed at 2,500 points a second). So the work is done by a process of its own, the
courier. A young run has none yet: starting one costs two seconds on another core, more than most tests and trials
last. Till then, and at the end, a thread of the run does what is left.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

from src.tracking import journal, outbox
from src.tracking.delivery import TROUBLE, deliver
from src.tracking.redaction import hidden
from src.tracking.session import Session

_YOUNG_SECONDS = 10.0
_SMALL_BYTES = 64_000  # what the thread of a young run delivers: 2,000 points, a quarter of a second
_ROOT = Path(__file__).resolve().parents[2]


class Passage:
    """Delivers what a run's outbox holds while the run lives, and what is left at its end."""

    def __init__(self, session: Session, folder: Path) -> None:
        self._session = session
        self._folder = folder
        self._pause = session.store.flush_seconds
        self._born_at = time.monotonic()
        self._ended = threading.Event()
        self._patience = 0.0
        self._courier: subprocess.Popen[bytes] | None = None
        self._can_start = True
        self._thread = threading.Thread(target=self._run, name="passage", daemon=True)
        self._thread.start()

    def close(self, patience_seconds: float) -> bool:
        """Deliver what is left; whether all of it has arrived.

        Gives up once the store has taken nothing for `patience_seconds`: the rest stays in the outbox.
        """
        self._patience = patience_seconds
        self._ended.set()
        self._thread.join()
        return not self._folder.exists()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._step()
            except Exception as error:  # whatever it is, training goes on
                self._complain(error)
            self._ended.wait(self._pause)
        self._recall()
        self._finish()

    def _step(self) -> None:
        if self._courier is not None and self._courier.poll() is None:
            self._relay()
        elif self._can_start and time.monotonic() - self._born_at > _YOUNG_SECONDS:
            self._send_courier()
        elif not self._can_start or journal.size(self._folder, outbox.delivered(self._folder)) < _SMALL_BYTES:
            deliver(self._session, self._folder, go_on=lambda: not self._ended.is_set())
            self._pause = self._session.store.flush_seconds

    def _send_courier(self) -> None:
        self._can_start = self._courier is None  # one that ended by itself is replaced once
        try:
            self._courier = subprocess.Popen(
                [sys.executable, "-m", "src.tracking.courier"],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the run, which ends its courier itself
            )
            assert self._courier.stdin is not None
            store = self._session.store
            order = {
                "folder": str(self._folder),
                "store": {"root": store.root, "uri": store.uri, "flush_seconds": store.flush_seconds},
            }
            # Not as an argument: everybody on the machine may read those, and a URI may hold a password.
            self._courier.stdin.write(json.dumps(order).encode() + b"\n")
            self._courier.stdin.flush()
        except OSError as error:
            self._can_start = False
            self._complain(error)

    def _relay(self) -> None:
        """Print what the courier has to say."""
        assert self._courier is not None and self._courier.stdout is not None
        while select.select([self._courier.stdout], [], [], 0)[0]:
            said = os.read(self._courier.stdout.fileno(), 4096)
            if not said:
                return
            print(said.decode(errors="replace"), end="", file=sys.stderr)

    def _recall(self) -> None:
        """End the courier: killed in the middle of a write, it costs nothing but that the write is sent again."""
        if self._courier is None:
            return
        self._courier.kill()
        self._courier.wait()
        for pipe in (self._courier.stdin, self._courier.stdout):
            if pipe is not None:
                pipe.close()

    def _finish(self) -> None:
        told = False
        last, reached = time.monotonic(), outbox.delivered(self._folder)
        while time.monotonic() - last < self._patience:
            deadline = time.monotonic() + 5.0
            try:
                done = deliver(self._session, self._folder, go_on=lambda until=deadline: time.monotonic() < until)  # type: ignore[misc]
            except TROUBLE as error:
                if not told:
                    told = True
                    self._complain(error)
                time.sleep(0.5)
                continue
            if done.whole or not self._folder.exists():
                return
            if (now := outbox.delivered(self._folder)) != reached:  # by us, or by another process that is at it
                last, reached = time.monotonic(), now
            else:
                time.sleep(0.1)

    def _complain(self, error: Exception) -> None:
        if self._pause < 60.0:
            if self._pause <= self._session.store.flush_seconds:
                reason = hidden(" ".join(f"{type(error).__name__}: {error}".split())[:300])
                print(f"tracking: the store does not answer now and is tried again ({reason})", file=sys.stderr)
            self._pause = min(60.0, max(0.5, self._pause * 2))
