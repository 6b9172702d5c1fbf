"""A program that writes a run: `python -m tests.services.writer ROOT URI EXPERIMENT STEPS`.

It waits for a line on its standard input before it opens the store, so that several begin at once.
"""

import sys
import time

from src.tracking.run_record import RunRecord
from src.tracking.store import Store


def main(root: str, uri: str, experiment: str, steps: str) -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    store = Store(
        root=root, uri=uri, experiment=experiment, system_metrics=False, flush_seconds=0.1
    )
    with RunRecord(store=store, name="writer", kind="test", params={}) as run:
        for step in range(int(steps)):
            run.log_metrics({"train/loss": step / 7}, step=step)
            time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
