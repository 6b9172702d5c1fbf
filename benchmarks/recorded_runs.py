"""Runs of a benchmark that takes longer than a machine can be had for: each is kept as it ends, so
that a later call, or another one at the same time, goes on with those that are missing.
"""

import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmarks.setting import AT_START, RESULTS

RecordedRun = dict[str, Any]


class RecordedRuns:
    """The runs in `docs/results/NAME.json`, each with what names it and what was measured."""

    def __init__(self, name: str, folder: Path = RESULTS) -> None:
        self._path = folder / f"{name}.json"
        self._lock = FileLock(folder.parent / f".{name}.lock")

    def read(self) -> list[RecordedRun]:
        """All runs so far, in the order in which they ended."""
        if not self._path.is_file():
            return []
        runs: list[RecordedRun] = json.loads(self._path.read_text(encoding="utf-8"))
        return runs

    def find(self, **names: Any) -> RecordedRun | None:
        """The run with these names, if it was made."""
        return next((run for run in self.read() if names.items() <= run.items()), None)

    def add(self, **run: Any) -> None:
        """Keep a run, with date, commit and machine."""
        with self._lock:
            runs = [*self.read(), {**run, "setting": AT_START}]
            lines = ",\n".join(f" {json.dumps(row)}" for row in runs)
            fresh = self._path.with_suffix(".fresh")
            fresh.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
            os.replace(fresh, self._path)
