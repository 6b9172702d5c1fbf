"""The metrics by which runs are compared, and their values in groups."""

import math
from collections import Counter
from collections.abc import Sequence

from src.comparison.run_groups import RunGroup
from src.core.user_errors import UserError, format_suggestion
from src.tracking.metric_names import TEST_METRICS
from src.tracking.run_table import RunTable

MONITOR_PARAM = "callbacks.checkpoint.monitor"
# what a run costs: by name, the metric that says so; seconds are those between its start and end
COSTS = {"seconds": "seconds", "tokens": "train/tokens", "energy": "system/energy_joules"}
# it counts rows
_SUPPORT = "test/support"
_OWN_PREFIXES = ("train/", "val/", "test/", "best/", "system/", "report/", "search/", "probe/")


def get_values(table: RunTable, places: Sequence[int], metric: str) -> list[float]:
    """The finite values that runs have for a metric, or for `seconds`."""
    if metric == "seconds":
        found = [table.runs[place].seconds for place in places]
    else:
        column = table.metrics.get(metric)
        found = [] if column is None else [column[place] for place in places]
    return [value for value in found if value is not None and math.isfinite(value)]


def find_monitor(table: RunTable) -> str | None:
    """The metric by which most of the runs choose their checkpoints; None if none says so."""
    counts = Counter(name for name in table.params.get(MONITOR_PARAM, ()) if name is not None)
    return counts.most_common(1)[0][0] if counts else None


def choose_metric(table: RunTable, typed: str | None) -> str:
    """The metric that decides: the one that was typed, else what the test measured, else the best
    validation; where runs have ended without any, how long they took.

    Raises:
        UserError: no run has a metric of that name, or none that could decide.
    """
    if typed is not None:
        if typed not in table.metrics:
            raise UserError(
                f"--metric {typed}: none of these runs has this metric",
                hint=format_suggestion(typed, [*list_result_metrics(table)]),
            )
        return typed
    monitor = find_monitor(table) or "val/loss"
    name = monitor.rpartition("/")[2]
    names = [f"test/{name}"] if name != "loss" else []
    names += [f"test/{one}" for one in TEST_METRICS]
    names += [f"best/{monitor}", monitor, "best/val/loss", "val/loss", "train/loss"]
    # one that all have comes before one that some have
    for least in (len(table.runs), 1):
        for metric in names:
            column = table.metrics.get(metric, [])
            if sum(value is not None for value in column) >= least:
                return metric
    # as other programs call them
    if others := _list_other_metrics(table):
        return others[0]
    if any(run.seconds is not None for run in table.runs):
        return "seconds"
    raise UserError("none of these runs has measured anything yet, nor has one ended")


def list_result_metrics(table: RunTable) -> list[str]:
    """What tests measured and the best validations; where there was no test, the last ones."""
    names = sorted(table.metrics)
    shown = [name for name in names if name.startswith("test/") and name != _SUPPORT]
    shown += [name for name in names if name.startswith("best/val/")]
    if not shown:
        shown = [name for name in names if name.startswith("val/")]
    return shown or _list_other_metrics(table)


def _list_other_metrics(table: RunTable) -> list[str]:
    """Metrics that are in none of the groups of this program, those of most runs first."""
    counts = {
        name: sum(value is not None for value in column)
        for name, column in table.metrics.items()
        if not name.startswith(_OWN_PREFIXES)
    }
    return sorted(counts, key=lambda name: (-counts[name], name))


def list_cost_metrics(table: RunTable) -> list[str]:
    return [metric for metric in COSTS.values() if metric == "seconds" or metric in table.metrics]


def find_eval_digest(data: dict[str, list[str | None]], group: RunGroup, metric: str) -> str | None:
    """The digest of the rows on which a group was measured, several joined; None if not known."""
    split = "test" if metric.startswith("test/") else "validation"
    column = data.get(split)
    if column is None:
        return None
    found = dict.fromkeys(column[place] for place in group.places)
    return " ".join(digest for digest in found if digest is not None) or None
