"""Small runs in a store, with parameters, metrics, digests and predictions."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from src.tracking.run_record import RunRecord
from src.tracking.store import Store
from tests.tracking.conftest import make_store, store

__all__ = ["make_store", "store"]

AddRun = Callable[..., str]


@pytest.fixture
def add_run(store: Store) -> AddRun:
    """Keep a run whose test was right on the given rows; returns its id."""

    def add(
        name: str = "small",
        *,
        lr: float = 0.001,
        seed: int = 1,
        right: Sequence[int] | None = None,
        rows: int = 10,
        digest: str = "cccc",
        accuracy: float | None = None,
        val: float = 0.5,
        tokens: float = 100.0,
        kind: str = "finetune",
        parent: str | None = None,
        test: bool = True,
        params: dict[str, Any] | None = None,
    ) -> str:
        config = {
            "name": name,
            "seed": seed,
            "model": {"optim": {"lr": lr}},
            "data": {"task": "classification"},
            "callbacks": {"checkpoint": {"monitor": "val/accuracy", "mode": "max"}},
            **(params or {}),
        }
        tags = {} if parent is None else {"mlflow.parentRunId": parent}
        with RunRecord(store=store, name=name, kind=kind, params=config, tags=tags) as record:
            if kind == "search":
                return record.run_id
            for split, print_ in (("train", "aaaa"), ("validation", "bbbb"), ("test", digest)):
                record.log_dataset(name="d", digest=print_, split=split, rows=rows, source="s")
            record.log_metrics({"best/val/accuracy": val, "train/tokens": tokens}, step=3)
            if not test:
                return record.run_id
            marks = [right is None or row in right for row in range(rows)]
            share = sum(marks) / rows
            value = share if accuracy is None else accuracy
            record.log_metrics({"test/accuracy": value, "test/loss": 1 - value}, step=3)
            if right is not None:
                truth = ["yes" if row % 2 else "no" for row in range(rows)]
                other = {"yes": "no", "no": "yes"}
                guess = [
                    label if mark else other[label]
                    for label, mark in zip(truth, marks, strict=True)
                ]
                table = {"row": list(range(rows)), "label": truth, "predicted": guess}
                record.log_table(table, "report/predictions.json")
                record.log_table({"label": ["no", "yes"]}, "report/per_class.json")
        return record.run_id

    return add
