"""A project of its own for a sweep that is typed as a person types it."""

import subprocess
import sys
from pathlib import Path

from src.search.sweep_study import SweepStorage
from src.search.trials import TrialRecord
from src.tracking.earlier_runs import RunInfo
from src.tracking.store import Store

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "+experiment=quickstart_scratch",
    "model/encoder=tiny",
    "model.encoder.width=16",
    "model.encoder.layers=1",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.threads=1",
    "tracking.system_metrics=false",
    "data.source.train=40",
    "data.source.validation=20",
    "data.source.test=20",
    "data.batching.batch_size=16",
    "trainer.max_epochs=1000",
    "trainer.val_check_steps=2",
    "callbacks.checkpoint.monitor=val/loss",
    "callbacks.checkpoint.mode=min",
)


class Project:
    """A folder of its own with a store, and the command."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root=str(root))

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        places = (f"tracking.root={self.root}", f"data.cache={self.root}/.cache")
        task = (
            ()
            if any(word.startswith("sweep=") and word != "sweep=new" for word in words)
            else SMALL
        )
        command = [sys.executable, "-m", "src.run", "-m", *task, *places, *words]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def sweep(self, *words: str, code: int = 0) -> str:
        process = self.begin(*words)
        said, _ = process.communicate(timeout=240)
        assert process.returncode == code, said
        return said

    def rows(self) -> list[TrialRecord]:
        storage = SweepStorage(None, self.root / "mlruns")
        return storage.open_study(storage.list_studies()[0][0]).load_trials()

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]

    def trials(self) -> list[RunInfo]:
        """The newest sweep's runs, by number."""
        storage = SweepStorage(None, self.root / "mlruns")
        found = self.store.search_runs(
            f"tags.`mlflow.parentRunId` = '{storage.list_studies()[0][0]}'"
        )
        return sorted(found, key=lambda run: int(run.tags["search.trial"]))

    def parent(self) -> RunInfo:
        return self.store.find_run(SweepStorage(None, self.root / "mlruns").list_studies()[0][0])
