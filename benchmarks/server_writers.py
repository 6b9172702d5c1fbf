"""A hundred runs that write at once to an MLflow server on PostgreSQL: `python -m
benchmarks.server_writers [runs=100]`.

One of them is a training with steps of 20 ms, in pairs of windows that log and do not log; the
others are copies of one process that log 10 metrics at 100 steps each. PostgreSQL must be
installed.
"""

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.postgres import PostgresServer
from benchmarks.setting import write
from benchmarks.stepping import Pace, Training, cost
from benchmarks.tracking_server import Server

if TYPE_CHECKING:
    from src.tracking.store import Store

METRICS, STEPS = 10, 100
NAMES = [f"train/metric_{place}" for place in range(METRICS)]
# what a writer waits between two steps, and the steps of a window of the training
PAUSE_SECONDS, WINDOW_STEPS = 0.05, 10
MOST_PERCENT = 2.0


def main(arguments: list[str]) -> int:
    chosen = {"runs": "100"} | dict(argument.split("=") for argument in arguments)
    count = int(chosen["runs"])
    training = Training()
    postgres = PostgresServer()
    postgres.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            address = postgres.create_database("mlflow")
            server = Server(Path(folder), address, workers=4)
            server.start()
            try:
                return _measure(training, server.uri, Path(folder), count)
            finally:
                server.stop()
    finally:
        postgres.remove()


def _measure(training: Training, uri: str, folder: Path, count: int) -> int:
    from src.tracking.store import Store

    store = Store(root=str(folder / "project"), uri=uri, experiment="writers", system_metrics=False)
    store.open()
    # everything is imported already, so that a hundred of them fit into memory
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_write, args=(store,)) for _ in range(count - 1)]
    began = time.monotonic()
    for writer in writers:
        writer.start()
    with_it, without = _train(training, store)
    for writer in writers:
        writer.join()
    seconds = time.monotonic() - began
    _deliver(store)
    runs = store.search_runs(limit=count + 1)
    client = store.open().client
    there = 0
    for run in runs:
        for place, name in enumerate(NAMES):
            points = [
                (point.step, point.value) for point in client.get_metric_history(run.id, name)
            ]
            there += STEPS * (points == [(step, step * 0.37 + place) for step in range(STEPS)])
    finished = sum(run.status == "FINISHED" for run in runs)
    failed = sum(writer.exitcode != 0 for writer in writers)
    costs = {
        part: cost([getattr(one, part) for one in with_it], [getattr(one, part) for one in without])
        for part in Pace._fields
    }
    wanted = count * METRICS * STEPS
    reached = there == wanted and finished == count and not failed
    reached &= costs["processor"] < MOST_PERCENT
    write(
        "server_writers",
        "Many runs that write to one server at once",
        f"python -m benchmarks.server_writers runs={count}",
        [
            "| runs | finished | points written | there, each once | seconds | a step of the "
            "training: processor time, wall median | allowed |",
            "| --- " * 7 + "|",
            f"| {count} | {finished} | {wanted:,} | {there:,} | {seconds:.0f} | "
            f"{costs['processor']:+.2f} %, {costs['median']:+.2f} % | {MOST_PERCENT:g} % |",
            "",
            "MLflow server of four workers on PostgreSQL, all on the same cores as the runs. The "
            "training's steps take 20 ms; how much longer they take with logging than without, "
            f"median of {len(with_it)} pairs of windows of {WINDOW_STEPS} steps, while the others "
            "write.",
        ],
    )
    return 0 if reached else 1


def _write(store: "Store") -> None:
    from src.tracking.run_record import RunRecord

    with RunRecord(store=store, name="writer", kind="benchmark", params={}) as run:
        for step in range(STEPS):
            run.log_metrics(_measure_step(step), step=step)
            time.sleep(PAUSE_SECONDS)


def _train(training: Training, store: "Store") -> tuple[list[Pace], list[Pace]]:
    """The paces of windows that log, and of those that do not."""
    from src.tracking.run_record import RunRecord

    with_it: list[Pace] = []
    without: list[Pace] = []
    with RunRecord(store=store, name="training", kind="benchmark", params={}) as run:
        logger = run.logger
        step = 0

        def log() -> None:
            nonlocal step
            logger.log_metrics(_measure_step(step), step)
            step += 1

        for pair in range(STEPS // WINDOW_STEPS):
            for logging in (True, False) if pair % 2 else (False, True):
                pace = training.window(WINDOW_STEPS, log if logging else lambda: None)
                (with_it if logging else without).append(pace)
    return with_it, without


def _measure_step(step: int) -> dict[str, float]:
    return {name: step * 0.37 + place for place, name in enumerate(NAMES)}


def _deliver(store: "Store") -> None:
    """Send what the ends of runs did not wait for."""
    from src import sync

    if any((store.runs_folder / "outbox").glob("*")):
        sync.main(["--root", store.root])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
