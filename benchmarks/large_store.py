"""A store of 10,000 runs: `python -m benchmarks.large_store`.

The SQLite file of `benchmarks.compare`. A run of 200 parameters begins in it, `src.runs` lists the
newest, and `src.compare` compares the 1,000 that a filter finds. Seconds are those beyond the
imports, in one process that has them already; of several tries the fastest counts, since the
machine may be busy with something else.
"""

import contextlib
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from benchmarks.compare import FILL
from benchmarks.setting import write

RUNS, COMPARED, PARAMS = 10_000, 1_000, 200
TRIES = 5
# the start times of `fill_store`
FILTER = f"attributes.start_time < {1_700_000_000_000 + 60_000 * COMPARED}"
MOST_SECONDS = {"a run begins": 0.1, "`src.runs`": 1.0, f"`src.compare` of {COMPARED:,}": 2.0}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", FILL.format(folder=folder, runs=RUNS)], check=True)
        seconds = [min(tries) for tries in _time_commands(folder)]
    reached = [spent <= most for spent, most in zip(seconds, MOST_SECONDS.values(), strict=True)]
    write(
        "large_store",
        f"A store of {RUNS:,} runs",
        "python -m benchmarks.large_store",
        [
            "| what | seconds beyond the imports | at most | reached |",
            "| --- | ---: | ---: | --- |",
            *(
                f"| {what} | {spent:.3f} | {most:g} | {'yes' if good else '**no**'} |"
                for (what, most), spent, good in zip(
                    MOST_SECONDS.items(), seconds, reached, strict=True
                )
            ),
            "",
            f"SQLite, {PARAMS} parameters, 40 metrics and 14 tags for each run; the fastest of "
            f"{TRIES} tries.",
        ],
    )
    return 0 if all(reached) else 1


def _time_commands(folder: str) -> list[list[float]]:
    from src import compare, runs
    from src.tracking.run_record import RunRecord
    from src.tracking.store import Store

    store = Store(root=folder, system_metrics=False)
    store.open()
    params = {f"group.key{place}": place for place in range(PARAMS)}

    def begin() -> None:
        record = RunRecord(store=store, name="large", kind="benchmark", params=params)
        began = time.perf_counter()
        with record:
            times[0].append(time.perf_counter() - began)

    times: list[list[float]] = [[], [], []]
    # the first calls import what is left
    for _ in range(TRIES + 1):
        begin()
        times[1].append(_time(lambda: runs.main(["--root", folder])))
        times[2].append(_time(lambda: compare.main(["--root", folder, FILTER])))
    return [tries[1:] for tries in times]


def _time(command: Callable[[], object]) -> float:
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        command()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
