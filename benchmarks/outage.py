"""A tracking server that goes away: `python -m benchmarks.outage [turns=3] [steps=3000]`.

A training of a minute logs 10 metrics a step to a real `mlflow server` on SQLite. In every other
run the server is stopped after a third of it, started again after two thirds, and killed with
SIGKILL while it takes what had waited: in the middle of its answers. Both runs of a pair stand in
one process; which is first alternates.
"""

import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.setting import write
from benchmarks.stepping import Pace, Training, cost
from benchmarks.tracking_server import Server

NAMES = [f"train/metric_{each}" for each in range(10)]
MOST_PERCENT = 2.0


class Outcome(NamedTuple):
    """One run: its pace, how long its end took, and what the store has of it."""

    pace: Pace
    closing_seconds: float
    lost: int
    doubled: int
    status: str


def main(arguments: list[str]) -> int:
    chosen = {"turns": "3", "steps": "3000"} | dict(each.split("=") for each in arguments)
    turns, steps = int(chosen["turns"]), int(chosen["steps"])
    training = Training()
    disturbed: list[Outcome] = []
    quiet: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        try:
            for turn in range(turns):
                for breaking in (True, False) if turn % 2 else (False, True):
                    (disturbed if breaking else quiet).append(
                        _run(training, server, Path(folder), steps, breaking)
                    )
        finally:
            server.stop()
    lines = [
        "| | ms a step: processor / wall mean / wall median | end of the run | lost | doubled | "
        "status |"
    ]
    lines.append("| --- " * 6 + "|")
    for title, outcomes in (("undisturbed", quiet), ("server away, then killed", disturbed)):
        for one in outcomes:
            end = f"{one.closing_seconds:.1f} s"
            lines.append(
                f"| {title} | {one.pace} | {end} | {one.lost} | {one.doubled} | {one.status} |"
            )
    differences = {
        part: cost(
            [getattr(each.pace, part) for each in disturbed],
            [getattr(each.pace, part) for each in quiet],
        )
        for part in Pace._fields
    }
    whole = all(each[2:] == (0, 0, "FINISHED") for each in disturbed + quiet)
    reached = whole and differences["processor"] < MOST_PERCENT
    lines += [
        "",
        f"Disturbed against undisturbed, median of {turns} pairs: processor time "
        f"{differences['processor']:+.2f} %, "
        f"wall mean {differences['mean']:+.2f} %, wall median {differences['median']:+.2f} %; "
        f"{MOST_PERCENT:g} % is "
        "allowed.",
        "",
        f"{steps:,} steps with {len(NAMES)} metrics each, {steps * len(NAMES):,} points a run. "
        "The wall times hold "
        "what the server itself takes of the machine when it starts: both stand on the same cores.",
    ]
    write(
        "outage",
        "A tracking server that goes away",
        f"python -m benchmarks.outage turns={turns} steps={steps}",
        lines,
    )
    return 0 if reached else 1


def _run(training: Training, server: Server, folder: Path, steps: int, breaking: bool) -> Outcome:
    from src.tracking.run_record import RunRecord
    from src.tracking.store import Store

    store = Store(root=str(folder / "project"), uri=server.uri, experiment="outage")
    step = 0
    breaker = threading.Thread(target=lambda: _break(server, lambda: step / steps), daemon=True)
    with RunRecord(store=store, name="outage", kind="benchmark", params={}) as run:
        logger = run.logger

        def log() -> None:
            nonlocal step
            logger.log_metrics(
                {name: step * 0.37 + place for place, name in enumerate(NAMES)}, step
            )
            step += 1

        if breaking:
            breaker.start()
        pace = training.window(steps, log)
        ended_at = time.monotonic()
        if breaking:
            breaker.join()
    closing = time.monotonic() - ended_at
    # what the end of the run did not wait for
    if (store.runs_folder / "outbox" / run.run_id).exists():
        from src import sync

        sync.main(["--root", store.root])
    lost = doubled = 0
    for place, name in enumerate(NAMES):
        found = [
            (each.step, each.value)
            for each in store.open().client.get_metric_history(run.run_id, name)
        ]
        wanted = {(each, each * 0.37 + place) for each in range(steps)}
        lost += len(wanted - set(found))
        doubled += len(found) - len(set(found))
    status = store.find_run(run.run_id).status
    shutil.rmtree(store.runs_folder / "outbox", ignore_errors=True)
    return Outcome(pace, closing, lost, doubled, status)


def _break(server: Server, done: Callable[[], float]) -> None:
    _until(lambda: done() >= 1 / 3)
    server.stop()
    _until(lambda: done() >= 2 / 3)
    server.start()
    # the uploader is sending what had waited, request after request
    time.sleep(1.5)
    server.stop(signal.SIGKILL)
    server.start()


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
