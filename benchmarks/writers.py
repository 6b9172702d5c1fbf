"""Many writers to one store: `python -m benchmarks.writers`.

8 processes log 10,000 points each to one SQLite file, then to one server.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.setting import ROOT, write
from benchmarks.tracking_server import Server

WRITERS, METRICS, STEPS = 8, 10, 1000
NAMES = [f"train/metric_{each}" for each in range(METRICS)]


def main(arguments: list[str]) -> int:
    if arguments:
        _write(*arguments)
        return 0
    lines = ["| store | points written | points there | not finished | lines on stderr | seconds |"]
    lines.append("| --- " * 6 + "|")
    reached = True
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        try:
            for title, uri in (("SQLite", ""), ("mlflow server on SQLite", server.uri)):
                row, good = _together(title, f"{folder}/project", uri)
                lines.append(row)
                reached &= good
        finally:
            server.stop()
    lines += [
        "",
        f"{WRITERS} processes, each a run of {METRICS} metrics at {STEPS:,} steps, logged as fast "
        "as it can; "
        "seconds from the start of the first process to the end of the last, imports included.",
    ]
    write("writers", "Eight writers to one store", "python -m benchmarks.writers", lines)
    return 0 if reached else 1


def _together(title: str, root: str, uri: str) -> tuple[str, bool]:
    from src.tracking.store import Store

    store = Store(root=root, uri=uri or None, experiment=f"writers {title}")
    store.open()
    began = time.monotonic()
    program = [sys.executable, "-m", "benchmarks.writers", root, uri, store.experiment]
    writers = [
        subprocess.Popen(
            program, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(WRITERS)
    ]
    said = [writer.communicate()[1] for writer in writers]
    seconds = time.monotonic() - began
    runs = store.search_runs()
    client = store.open().client
    steps = [
        [each.step for each in client.get_metric_history(run.id, name)]
        for run in runs
        for name in NAMES
    ]
    there = sum(each == list(range(STEPS)) for each in steps) * STEPS
    unfinished = (
        WRITERS
        - sum(run.status == "FINISHED" for run in runs)
        + sum(each.returncode != 0 for each in writers)
    )
    errors = sum(len(each.splitlines()) for each in said)
    for text in said:
        print(text, end="", file=sys.stderr)
    written = WRITERS * METRICS * STEPS
    row = f"| {title} | {written:,} | {there:,} | {unfinished} | {errors} | {seconds:.0f} |"
    return row, there == written and unfinished == 0 and errors == 0


def _write(root: str, uri: str, experiment: str) -> None:
    from src.tracking.run_record import RunRecord
    from src.tracking.store import Store

    store = Store(root=root, uri=uri or None, experiment=experiment, system_metrics=False)
    with RunRecord(store=store, name="writer", kind="benchmark", params={}) as run:
        for step in range(STEPS):
            run.log_metrics({name: step / 7 + place for place, name in enumerate(NAMES)}, step=step)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
