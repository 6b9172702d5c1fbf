"""Whether the quickstart's three runs come out the same when they are run again: `python -m
benchmarks.rerun`.
"""

import json
import subprocess
import sys
import tempfile

from benchmarks.setting import ROOT, write
from src.tracking.store import Store


def _run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def main() -> int:
    rows, equal = [], 0
    with tempfile.TemporaryDirectory() as folder:
        _run("src.quickstart", f"tracking.root={folder}", f"data.cache={folder}/cache")
        runs = Store(root=folder, experiment="palimpsest").search_runs()
        for run in reversed(runs):
            answer = json.loads(_run("src.rerun", run.id, "--root", folder, "--json"))
            equal += answer["equal"]
            verdict = "equal" if answer["equal"] else f"{len(answer['metrics'])} metrics differ"
            rows.append(
                f"| {run.params['name']} | {answer['num_metrics']} | {answer['num_values']:,} | "
                f"{verdict} | {answer['weights'] or 'equal'} |"
            )
            print(rows[-1], flush=True)
    write(
        "rerun",
        "Runs run again",
        "python -m benchmarks.rerun",
        [
            "The three runs of `make quickstart`, each repeated by `python -m src.rerun ID`: all "
            "values of all metrics of what was learnt, and all saved weights, bit by bit.",
            "",
            "| run | metrics | values | metrics then and now | weights then and now |",
            "| --- | --- | --- | --- | --- |",
            *rows,
        ],
    )
    return 0 if equal == len(runs) == 3 else 1


if __name__ == "__main__":
    sys.exit(main())
