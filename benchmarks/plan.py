"""What src.plan says beside what the run then measures: `REAL_DATA=FOLDER python -m
benchmarks.plan`.

Two small experiments on the CPU: the quickstart's from scratch, and 640 sentences of SST-2 with
MiniLM-L6. Each plan and each run has a process of its own, since resident memory is a process's.
"""

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.material import minilm, real
from benchmarks.setting import write

MEMORY_TOLERANCE = 0.15


def main() -> int:
    lines, memory_ratios = [], []
    for name, overrides in _list_experiments().items():
        with tempfile.TemporaryDirectory() as root:
            words = [*overrides, f"tracking.root={root}", f"data.cache={root}/cache"]
            planned, measured = (_call(kind, words) for kind in ("plan", "run"))
        for key, value in measured.items():
            ratio = planned[key] / value
            lines.append(f"| {name} | {key} | {planned[key]:.4g} | {value:.4g} | {ratio:.2f} |")
            print(lines[-1], flush=True)
        memory_ratios.append(planned["GB of memory"] / measured["GB of memory"])
    reached = all(abs(ratio - 1) <= MEMORY_TOLERANCE for ratio in memory_ratios)
    write(
        "plan",
        "What src.plan says, and what the run measures",
        "REAL_DATA=FOLDER python -m benchmarks.plan",
        [
            "| experiment | number | planned | measured | ratio |",
            "| --- | --- | ---: | ---: | ---: |",
            *lines,
            "",
            f"To reach: memory within 15 %: {'reached' if reached else '**not reached**'}. The "
            "whole time is that of the process; the plan leaves out the report, the reference line "
            "and the export at the end.",
        ],
    )
    return 0 if reached else 1


def _list_experiments() -> dict[str, list[str]]:
    return {
        "quickstart_scratch": ["+experiment=quickstart_scratch"],
        "sst2, 640 sentences": [
            "+experiment=sst2",
            f"data.source.path={real('sst2')}",
            "data.source.format=label_first",
            "data.source.validation=dev",
            f"model.encoder.name_or_path={minilm()}",
            "data.train_rows=640",
            "trainer=cpu",
            "trainer.precision=fp32",
            "trainer.threads=1",
            "trainer.max_epochs=2",
        ],
    }


def _call(kind: str, overrides: list[str]) -> dict[str, float]:
    """The numbers of a plan or of a run, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.plan", kind, *overrides]
    begin = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    numbers: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return numbers | ({"s in all": time.monotonic() - begin} if kind == "run" else {})


def _plan(config: dict[str, Any]) -> dict[str, float]:
    from src.pipeline.plan import plan_run

    plan = plan_run(config)
    return {
        "optimizer steps": plan.steps,
        "tokens": plan.training_tokens,
        "GB of memory": plan.peak_gigabytes,
        "MB of a checkpoint": plan.checkpoint_bytes / 1e6,
        "MB of disk": plan.disk_bytes / 1e6,
        "ms of a step": 1000 * plan.step_seconds,
        "s in all": plan.total_seconds,
    }


def _run(config: dict[str, Any]) -> dict[str, float]:
    from palimpsest import run

    outcome = run(config)
    folder = Path(config["tracking"]["root"]) / "mlruns"
    metrics: dict[str, list[tuple[int, float]]] = {}
    with sqlite3.connect(folder / "mlflow.db") as database:
        for key, step, value in database.execute(
            "select key, step, value from metrics order by step"
        ):
            metrics.setdefault(key, []).append((step, value))
    windows = metrics["train/step_seconds"]
    sizes = [step - before for (before, _), (step, _) in pairwise([(0, 0.0), *windows])]
    seconds = sum(size * value for size, (_, value) in zip(sizes, windows, strict=True))
    checkpoints = [
        file.stat().st_size for file in folder.glob(f"checkpoints/{outcome.run_id}/*.ckpt")
    ]
    [model] = (folder / "artifacts").rglob("model")
    model_bytes = sum(file.stat().st_size for file in model.rglob("*") if file.is_file())
    return {
        "optimizer steps": windows[-1][0],
        "tokens": metrics["train/tokens"][-1][1],
        "GB of memory": metrics["system/peak_memory_gigabytes"][-1][1],
        "MB of a checkpoint": checkpoints[0] / 1e6,
        "MB of disk": (sum(checkpoints) + model_bytes) / 1e6,
        "ms of a step": 1000 * seconds / windows[-1][0],
    }


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(main())
    from palimpsest import compose

    composed = compose(*sys.argv[2:])
    print(json.dumps((_plan if sys.argv[1] == "plan" else _run)(composed)))
