"""Writes to a store, and what becomes of those it does not take: they wait in `mlruns/outbox` until the next opening.

A write is a kind and plain content, so that it can be done at once, or kept as one line of JSON and done later.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

# How the world fails: no disk, no network (requests' errors are OSErrors), a store that refuses.
WORLD = (MlflowException, OSError)

T = TypeVar("T")


def write(client: MlflowClient, run_id: str, kind: str, content: dict[str, Any]) -> None:
    """Do one write, in as few requests as MLflow's limits allow."""
    match kind:
        case "metrics":  # points: [[key, value, step, milliseconds since 1970], ...]
            for some in _batches(content["points"], 1000):
                points = [Metric(key, value, when, step) for key, value, step, when in some]
                client.log_batch(run_id, metrics=points)
        case "params":
            for some in _batches(list(content["params"].items()), 100):
                client.log_batch(run_id, params=[Param(*each) for each in some])
        case "tags":
            for some in _batches(list(content["tags"].items()), 100):
                client.log_batch(run_id, tags=[RunTag(*each) for each in some])
        case "dataset":
            context = InputTag("mlflow.data.context", content["split"])
            client.log_inputs(run_id, [DatasetInput(Dataset(**content["dataset"]), [context])])
        case "artifact":
            log = client.log_artifacts if os.path.isdir(content["path"]) else client.log_artifact
            log(run_id, content["path"], content["folder"])
        case "status":
            client.set_terminated(run_id, content["status"], content["ended_at"])
        case _:
            raise ValueError(f"unknown kind of write: {kind}")


class Outbox:
    """What one run could not write. `kept` counts its lines."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.path = folder / f"{run_id}.jsonl"
        self.kept = 0

    def keep(self, kind: str, content: dict[str, Any]) -> None:
        """Append one write; files are copied, since their owner may remove them."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "artifact":
            content = content | {"path": str(self._copy(Path(content["path"])))}
        with FileLock(self.path.with_name(".lock")), open(self.path, "a", encoding="utf-8") as lines:
            lines.write(json.dumps({"kind": kind, **content}) + "\n")
        self.kept += 1

    def _copy(self, source: Path) -> Path:
        target = self.path.with_suffix("") / str(self.kept) / source.name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        return target


def deliver(client: MlflowClient, folder: Path) -> None:
    """Send what earlier runs had to keep. What still fails stays; nothing here ends a program."""
    waiting = sorted(folder.glob("*.jsonl"))
    if not waiting:
        return
    try:
        with FileLock(folder / ".lock", timeout=0):
            for path in waiting:
                _deliver(client, path)
    except Timeout:
        return  # another process is at it


def _deliver(client: MlflowClient, path: Path) -> None:
    run_id = path.stem
    lines = path.read_text(encoding="utf-8").splitlines()
    for done, line in enumerate(lines):
        content = json.loads(line)
        try:
            write(client, run_id, content.pop("kind"), content)
        except WORLD as error:
            # In order and none twice: the rest waits as it is.
            path.write_text("".join(f"{rest}\n" for rest in lines[done:]), encoding="utf-8")
            print(f"tracking: {path} still waits ({' '.join(str(error).split())[:200]})")
            return
    path.unlink()
    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    print(f"tracking: {len(lines)} writes that run {run_id} had to keep have reached the store")


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
