"""Processor seconds before anything is trained: `python -m benchmarks.startup`."""

import os
import resource
import subprocess
import sys
from statistics import median

from benchmarks.setting import ROOT, write

RUNS = 7
BARE = "import hydra, omegaconf"  # what any Hydra program pays
COMMANDS = {
    "python -m src.run --help": ["-m", "src.run", "--help"],
    "python -m src.run +experiment=imdb --cfg job": ["-m", "src.run", "+experiment=imdb", "--cfg", "job"],
    "python -m src.run model.optim.lrr=1 (an unknown key)": ["-m", "src.run", "model.optim.lrr=1"],
    "python -m src.run model.optim.lr=0 (out of range)": ["-m", "src.run", "model.optim.lr=0"],
    "import hydra, omegaconf, for comparison": ["-c", BARE],
}


def main() -> int:
    rows = []
    for title, arguments in COMMANDS.items():
        seconds = median(_processor_seconds(arguments) for _ in range(RUNS))
        rows.append(f"| `{title}` | {seconds:.2f} |")
    write(
        "startup",
        "Start-up",
        "python -m benchmarks.startup",
        [
            f"Processor seconds (user and system), median of {RUNS} runs.",
            "",
            "| command | seconds |",
            "| --- | --- |",
            *rows,
        ],
    )
    return 0


def _processor_seconds(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=False, env=dict(os.environ))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
