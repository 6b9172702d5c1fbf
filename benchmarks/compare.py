"""`python -m benchmarks.compare`: how long 1,000 and 10,000 runs take to be compared, and how much
memory.

The store is a SQLite file of MLflow's with 200 parameters, 40 metrics and 14 tags for each run: 150
parameters are the same in all runs, 40 take one of 4 values, 10 a number of their own. Each run has
its environment.txt. Beside it stands `mlflow.search_runs`, which reads the same runs into a
DataFrame of pandas and compares nothing. Both are processes of their own, measured from their start
to their end; the ratio is that of processor time, which does not depend on who else is at work.
"""

import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.setting import ROOT, write

if TYPE_CHECKING:
    import numpy as np

PARAMS, FEW, OWN, METRICS = 200, 40, 10, 40
# by runs, the seconds and the megabytes that may be taken
LIMITS = {1_000: (2.0, 300), 10_000: (15.0, 300)}
_NOTE = "a run of the benchmark " * 20
# of which the fastest counts: the machine may be busy with something else
TRIES = 3
FILL = """
from pathlib import Path
from benchmarks.compare import fill_store
fill_store(Path("{folder}"), {runs})
"""
_SEARCH = """
import mlflow
mlflow.set_tracking_uri("sqlite:///{database}")
frame = mlflow.search_runs(experiment_names=["palimpsest"], max_results=50_000)
assert len(frame) == {runs}, len(frame)
"""


class Cost(NamedTuple):
    """Of a process, from its start to its end."""

    seconds: float
    processor_seconds: float
    megabytes: float


def main() -> int:
    lines = [
        "| runs | `src.compare` | processor | memory | to reach | `mlflow.search_runs` | processor "
        "| memory | ratio |",
        "| ---: |" + " ---: |" * 8,
    ]
    good = True
    for runs, (seconds, megabytes) in LIMITS.items():
        with tempfile.TemporaryDirectory() as folder:
            # by another process: what this one uses would count as used by those it starts
            measure([sys.executable, "-c", FILL.format(folder=folder, runs=runs)])
            command = [sys.executable, "-m", "src.compare", "--root", folder]
            ours = min(measure(command) for _ in range(TRIES))
            script = _SEARCH.format(database=f"{folder}/mlruns/mlflow.db", runs=runs)
            theirs = measure([sys.executable, "-c", script])
        reached = ours.seconds <= seconds and ours.megabytes <= megabytes
        good = good and reached
        lines.append(
            f"| {runs:,} | {_describe(ours)} | {seconds:.0f} s, {megabytes} MB"
            f"{'' if reached else ', **not reached**'} | {_describe(theirs)} | "
            f"{theirs.processor_seconds / ours.processor_seconds:.1f} |"
        )
    lines += [
        "",
        f"Of {TRIES} tries of `src.compare` the fastest, of `mlflow.search_runs` one. The ratio is "
        "that of processor time.",
    ]
    write("compare", "Comparing many runs", "python -m benchmarks.compare", lines)
    return 0 if good else 1


def fill_store(root: Path, runs: int, *, seed: int = 1) -> Path:
    """Make a project with so many runs; returns its database."""
    import numpy as np

    from src.tracking.database import prepare_database

    database = root / "mlruns" / "mlflow.db"
    artifacts = database.parent / "artifacts"
    prepare_database(database, artifacts)
    random = np.random.default_rng(seed)
    ids = [uuid.UUID(bytes=random.bytes(16)).hex for _ in range(runs)]
    packages = "".join(f"package-{number}=={number}.0.1\n" for number in range(150))
    with closing(sqlite3.connect(database)) as connection:
        place = artifacts / "palimpsest"
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, "
            "creation_time, last_update_time, workspace) VALUES (7, 'palimpsest', ?, 'active', 1, "
            "1, 'default')",
            (str(place),),
        )
        for number, run_id in enumerate(ids):
            folder = place / run_id / "artifacts"
            folder.mkdir(parents=True)
            text = f"python: 3.11.{number % 2}\nhost: node{number % 4}\n\n{packages}"
            (folder / "environment.txt").write_text(text, encoding="utf-8")
            _insert_run(connection, run_id, number, folder, random)
        connection.commit()
    return database


def _insert_run(
    connection: sqlite3.Connection,
    run_id: str,
    number: int,
    folder: Path,
    random: "np.random.Generator",
) -> None:
    started = 1_700_000_000_000 + 60_000 * number
    connection.execute(
        "INSERT INTO runs (run_uuid, name, status, start_time, end_time, lifecycle_stage, "
        "artifact_uri, experiment_id, source_type, user_id) VALUES (?, ?, 'FINISHED', ?, ?, "
        "'active', ?, 7, 'LOCAL', 'me')",
        (run_id, f"run {number}", started, started + 50_000, str(folder)),
    )
    few = random.integers(0, 4, FEW).tolist()
    own = random.random(OWN).tolist()
    values = [f"constant {place}" for place in range(PARAMS - FEW - OWN)]
    values += [f"value {choice}" for choice in few] + [f"{value:.6g}" for value in own]
    _insert(connection, "params (run_uuid, key, value)", [
        (run_id, f"group{place % 9}.key{place}", value) for place, value in enumerate(values)
    ])  # fmt: skip
    scores = random.random(METRICS).tolist()
    names = ["test/accuracy", "best/val/loss", *(f"val/m{place}" for place in range(METRICS - 2))]
    points = [(run_id, name, score) for name, score in zip(names, scores, strict=True)]
    for table in ("metrics", "latest_metrics"):
        rows = [(*point, started + 1000, 100, 0) for point in points]
        _insert(connection, f"{table} (run_uuid, key, value, timestamp, step, is_nan)", rows)
    tags = {f"tag{place}": f"{number % 3}" for place in range(10)}
    tags |= {"kind": "finetune", "commit": f"{number % 5:040x}", "mlflow.note.content": _NOTE}
    tags |= {"data.fingerprint": "train=aaaa validation=bbbb test=cccc"}
    _insert(connection, "tags (run_uuid, key, value)", [(run_id, *item) for item in tags.items()])


def _insert(connection: sqlite3.Connection, target: str, rows: list[tuple]) -> None:
    marks = ", ".join("?" * len(rows[0]))
    connection.executemany(f"INSERT INTO {target} VALUES ({marks})", rows)


def measure(command: list[str]) -> Cost:
    """Run a command to its end; what it prints goes nowhere."""
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status != 0:
        raise RuntimeError(f"{command} has ended with {status}")
    return Cost(seconds, used.ru_utime + used.ru_stime, _to_megabytes(used))


def _to_megabytes(used: resource.struct_rusage) -> float:
    return used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _describe(cost: Cost) -> str:
    return f"{cost.seconds:.1f} s | {cost.processor_seconds:.1f} s | {cost.megabytes:.0f} MB"


if __name__ == "__main__":
    sys.exit(main())
