"""A project folder as a user has it: the program beside its `mlruns/`, and the commands, each in a
process of its own.

Nothing of the program is imported here: it may be rearranged at will, and these tests say what must
stay.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = Path(__file__).resolve().parent / "fixtures"
PROGRAM = ("src", "conf", "hydra_plugins")
Points = dict[tuple[str, int], float]
TINY = (
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.threads=1",
    "trainer.log_every_n_steps=5",
    "tracking.system_metrics=false",
    "data.tokenizer.vocab_size=200",
    "model/encoder=tiny",
    "model.encoder.width=8",
    "model.encoder.layers=1",
    "model.encoder.heads=2",
    "model.encoder.max_tokens=64",
    "model.encoder.dropout=0.1",
)
LABELLED = (
    "data=generated",
    "data.source.train=400",
    "data.source.validation=20",
    "data.source.test=20",
    "data.batching.batch_size=8",
    "data.batching.max_tokens=32",
    "model.optim.lr=5e-3",
    *TINY,
)
MASKED = (
    "data=generated_text",
    "model=masked_lm",
    "data.source.train=200",
    "data.source.validation=20",
    "data.source.test=20",
    "data.batching.batch_size=4",
    "data.batching.row_tokens=32",
    "model.optim.lr=1e-2",
    *TINY,
)


def from_run(run_id: str) -> tuple[str, ...]:
    """A classifier as `LABELLED`, but with an earlier run's encoder and tokenizer."""
    left = [
        each
        for each in LABELLED
        if not each.startswith(("data.tokenizer.", "model.encoder.", "model/encoder="))
    ]
    return (
        *left,
        f"init_from={run_id}",
        "data/tokenizer=pretrained",
        "model/encoder=pretrained",
        f"data.tokenizer.name_or_path=run:{run_id}",
        f"model.encoder.name_or_path=run:{run_id}",
    )


class Project:
    """The program of `checkout`, put into a folder with an `mlruns/` that may hold anything yet."""

    def __init__(self, root: Path, checkout: Path = ROOT) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        for name in PROGRAM:
            shutil.copytree(checkout / name, root / name)

    @property
    def runs(self) -> Path:
        return self.root / "mlruns"

    def begin(self, module: str, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """`python -m src.MODULE WORDS`; both its streams come out of `stdout`."""
        return subprocess.Popen(
            [sys.executable, "-m", f"src.{module}", *words],
            cwd=self.root,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def say(self, module: str, *words: str, code: int = 0, **environment: str) -> str:
        """What the command prints; it must end with `code`."""
        process = self.begin(module, *words, **environment)
        said, _ = process.communicate(timeout=240)
        assert process.returncode == code, (
            f"exit code {process.returncode} instead of {code}\n{said}"
        )
        return said

    def points(self, run_id: str, *, after: int = -1) -> Points:
        """Every value that the store has of a run behind a step, but for measurements of time; each
        is there once.
        """
        with closing(sqlite3.connect(self.runs / "mlflow.db")) as database:
            rows = database.execute(
                "select key, step, value from metrics where run_uuid = ?", [run_id]
            ).fetchall()
        assert len({row[:2] for row in rows}) == len(rows), f"run {run_id} has a point twice"
        return {
            (key, step): value for key, step, value in rows if step > after and not measured(key)
        }

    def rows(self, database: str, question: str, *values: object) -> list[tuple[object, ...]]:
        """The answer to an SQL question about a database in `mlruns/`."""
        with closing(sqlite3.connect(self.runs / database)) as connection:
            return connection.execute(question, values).fetchall()

    def tags(self, run_id: str) -> dict[str, str]:
        return dict(
            self.rows("mlflow.db", "select key, value from tags where run_uuid = ?", run_id)
        )  # type: ignore[arg-type]

    def status(self, run_id: str) -> str:
        [(status,)] = self.rows("mlflow.db", "select status from runs where run_uuid = ?", run_id)
        return str(status)

    def artifacts(self, run_id: str) -> set[str]:
        folder = self.runs / "artifacts" / "palimpsest" / run_id / "artifacts"
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def unpacked(root: Path) -> Project:
    """The project that the fixture holds, in another folder than the one in which it was made, with
    today's program.
    """
    project = Project(root)
    with tarfile.open(FIXTURES / "project.tar.xz") as archive:
        archive.extractall(root, filter="data")
    return project


def newest(project: Project) -> str:
    """The id of the run that was begun last."""
    [(run_id,)] = project.rows(
        "mlflow.db", "select run_uuid from runs order by start_time desc limit 1"
    )
    return str(run_id)


def measured(key: str) -> bool:
    """Whether a metric is a measurement of time or of the machine: another one each time; or the
    best value of a validation metric or the share of masked tokens, which runs have of late.
    """
    measurements = ("second", "mfu", "memory", "energy", "system/")
    return key.startswith(("best/val/", "train/mask_fraction")) or any(
        part in key for part in measurements
    )


def until(process: "subprocess.Popen[str]", words: str) -> Iterator[str]:
    """The lines that a command prints, up to one that holds these words."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        yield line
        if words in line:
            return
    raise AssertionError(f"{words!r} was not said:\n{said}")
