"""The process that passes a run's outbox on to the store while the run trains. Started by the run, ended by it.

It reads one line of JSON: the outbox and the store. When the run dies without a word its end of the pipe closes: then
what the journal holds is delivered, and the courier ends too.
"""

import gc
import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ORPHAN_SECONDS = 10.0  # for what a dead run has left; the rest waits for the next opening of the store
_MOST_PAUSE_SECONDS = 60.0


def main() -> None:
    os.nice(5)  # the training comes first where cores are few
    order = json.loads(sys.stdin.readline())
    from src.tracking.delivery import TROUBLE, deliver
    from src.tracking.redaction import hidden
    from src.tracking.session import connect
    from src.tracking.store import Store

    gc.freeze()  # a fifth of its time would go into walking what was imported, and what MLflow makes for each point
    gc.set_threshold(100_000)
    store = Store(**order["store"])
    folder = Path(order["folder"])
    session: Any = None
    pause, failures = store.flush_seconds, 0
    while True:
        orphaned = _closed_within(pause)
        go_on: Callable[[], bool] = lambda: not _closed_within(0)
        if orphaned:
            until = time.monotonic() + _ORPHAN_SECONDS
            go_on = lambda: time.monotonic() < until  # noqa: B023
        try:
            session = session or connect(store)
            deliver(session, folder, go_on=go_on)
            if failures:
                print("tracking: the store answers again", flush=True)
            pause, failures = store.flush_seconds, 0
        except TROUBLE as error:
            if not failures and not orphaned:
                reason = hidden(" ".join(f"{type(error).__name__}: {error}".split())[:300])
                print(f"tracking: the store does not answer now and is tried again ({reason})", flush=True)
            failures += 1
            pause = min(_MOST_PAUSE_SECONDS, max(0.5, store.flush_seconds) * 2**failures)
        if orphaned:
            return


def _closed_within(seconds: float) -> bool:
    """Whether the run's end of the pipe is closed, or will be in the next `seconds`."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


if __name__ == "__main__":
    main()
