"""A run's signs of life: a tag in the store for other machines, a file for this one.

They say when the run was last alive, should its process vanish without a word (src/tracking/vanished.py). The file's
time is set by the file system that keeps it, so that whoever looks there needs no clock that agrees with this one.
"""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.terms.world import Kills

if TYPE_CHECKING:
    from mlflow import MlflowClient

INTERVAL_SECONDS = 60.0
VANISHED = "the process vanished without a word"  # how the reason of a run begins that was found dead


def alive_file(runs_folder: Path, run_id: str) -> Path:
    return runs_folder / "alive" / run_id


class Heartbeat:
    """Beats every `INTERVAL_SECONDS` while it is entered; removes the file where the run could end in good order.

    A run that another machine has taken for dead (a store out of reach for minutes looks like that from there) says
    RUNNING again at its next beat.

    Args:
        tag: writes a tag of the run; it may arrive later.
        client: to look at the run's status with; None where there is no store to look at.
    """

    def __init__(
        self, *, run_id: str, runs_folder: Path, tag: Callable[[str, object], None], client: "MlflowClient | None"
    ) -> None:
        self._run_id = run_id
        self._file = alive_file(runs_folder, run_id)
        self._tag = tag
        self._client = client
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        kills = Kills.now()
        with contextlib.suppress(OSError):  # a full disk: the tag still beats
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps({"kills": kills}), encoding="utf-8")
        self._say()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(5.0)  # it may be asking a store that does not answer
        with contextlib.suppress(OSError):
            self._file.unlink()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_SECONDS):
            self.beat()

    def beat(self) -> None:
        """One sign of life. Nothing that is the world's fault is raised."""
        with contextlib.suppress(OSError):
            self._file.touch()
        self._say()
        if self._client is not None:
            # MLflow's errors, and whatever a driver of a database raises: this must never end a training.
            with contextlib.suppress(Exception):
                self._come_back(self._client)

    def _say(self) -> None:
        self._tag("heartbeat", f"{time.time():.0f} every {INTERVAL_SECONDS:.0f} s")

    def _come_back(self, client: "MlflowClient") -> None:
        run: Any = client.get_run(self._run_id)
        reason = run.data.tags.get("failure.reason", "")
        if run.info.status == "RUNNING" or not reason.startswith(VANISHED) or self._ended.is_set():
            return
        client.update_run(self._run_id, status="RUNNING")
        client.delete_tag(self._run_id, "failure.reason")
        print("tracking: this run was taken for dead; it is RUNNING again", file=sys.stderr)
