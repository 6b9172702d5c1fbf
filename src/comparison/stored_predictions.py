"""The answers that a run has kept of its test, read back from its table of predictions."""

import json
from typing import Any

from src.evaluation.paired_comparison import Answers
from src.tracking.run_files import read_artifact
from src.tracking.run_table import RunTable
from src.tracking.store import Store

_PREDICTIONS = "report/predictions.json"
_LABELS = "report/per_class.json"


class NoAnswersError(Exception):
    """Why a run has no answers that could be read, as the end of a sentence about it."""


def load_answers(store: Store, table: RunTable, place: int) -> Answers:
    """Read what a run has answered on its test rows.

    Raises:
        NoAnswersError: it has kept none.
    """
    run = table.runs[place]
    content = read_artifact(store, run, _PREDICTIONS)
    if content is None:
        raise NoAnswersError(_explain_missing(table, place))
    columns = _parse_table(content)
    if not {"row", "label", "predicted"} <= set(columns):
        raise NoAnswersError(f"its {_PREDICTIONS} is no table of predictions")
    task = table.params.get("data.task", [None] * len(table.runs))[place] or "classification"
    labels, predicted = columns["label"], columns["predicted"]
    if any(cell is None for cell in (*labels, *predicted)):
        raise NoAnswersError(f"its {_PREDICTIONS} has rows without an answer")
    names: tuple[str, ...] = ()
    if task != "regression":
        per_class = _parse_table(read_artifact(store, run, _LABELS) or b"{}")
        names = tuple(map(str, per_class.get("label", ()))) or tuple(sorted({*labels, *predicted}))
    return Answers(columns["row"], labels, predicted, names, task)


def _explain_missing(table: RunTable, place: int) -> str:
    run = table.runs[place]
    if run.status == "RUNNING":
        return "is still running"
    if not any(
        name.startswith("test/") and column[place] is not None
        for name, column in table.metrics.items()
    ):
        return "was never tested" if run.status == "FINISHED" else f"is {run.status}, untested"
    return f"keeps no predictions ({_PREDICTIONS} is not among its files)"


def _parse_table(content: bytes) -> dict[str, list[Any]]:
    """Columns of a table as MLflow keeps it; none where it is no such table."""
    try:
        table = json.loads(content)
        return dict(zip(table["columns"], zip(*table["data"], strict=True), strict=True))
    except (ValueError, KeyError, TypeError):
        return {}
