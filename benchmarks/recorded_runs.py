"""Runs of a benchmark that takes longer than a machine can be had for: each is kept as it ends, so
that a later call, or another one at the same time, goes on with those that are missing.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmarks.material import PLACE
from benchmarks.setting import AT_START, RESULTS
from src.core.files import write_text

RecordedRun = dict[str, Any]


class RecordedRuns:
    """The runs in `docs/results/NAME.json`, one a line.

    Args:
        name: of the benchmark.
        keys: whose values name a run.
    """

    def __init__(self, name: str, keys: Sequence[str], folder: Path = RESULTS) -> None:
        self._keys = keys
        self._path = folder / f"{name}.json"
        self._lock = FileLock(PLACE / f"{name}.lock")

    def read(self) -> list[RecordedRun]:
        """All runs so far, in the order in which they ended."""
        if not self._path.is_file():
            return []
        runs: list[RecordedRun] = json.loads(self._path.read_text(encoding="utf-8"))
        return runs

    def has(self, *names: Any) -> bool:
        """Whether the run with these values of the keys was made."""
        return names in map(self._name, self.read())

    def add(self, run: Mapping[str, Any]) -> None:
        """Keep a run with date, commit and machine, in the place of one with the same names."""
        with self._lock:
            runs = [other for other in self.read() if self._name(other) != self._name(run)]
            runs.append({**run, "setting": AT_START})
            lines = ",\n".join(map(json.dumps, runs))
            write_text(self._path, f"[\n{lines}\n]\n")

    def _name(self, run: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(run.get(key) for key in self._keys)
