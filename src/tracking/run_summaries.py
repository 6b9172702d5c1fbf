"""Lists of runs for `python -m src.runs`, and its repair of what earlier runs left undone."""

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from mlflow.exceptions import MlflowException

from src.core.processes import is_process_gone
from src.core.user_errors import UserError, format_known, format_suggestion
from src.tracking import outbox
from src.tracking.client import connect_to_store
from src.tracking.delivery import deliver_pending_outboxes
from src.tracking.earlier_runs import RunInfo
from src.tracking.liveness import check_liveness, close_vanished_runs
from src.tracking.metric_names import is_small_good
from src.tracking.mlflow_format import quote_for_filter, restore_infinity
from src.tracking.store import Store
from src.tracking.ui_pages import describe_ui_page, format_ui_link

_MONITOR_PARAM = "callbacks.checkpoint.monitor"
# a sweep's best value so far
_BEST_PREFIX = "best/"


@dataclass(frozen=True)
class RunSummary:
    """One run in a list.

    `best` and `last` are values of the metric by which its checkpoints are judged (`metric`); None
    if it has none. Of a sweep `best` is that of its best trial.
    """

    id: str
    name: str
    kind: str
    status: str
    reason: str | None
    # seconds since 1970
    started_at: float
    # None where it is not known
    elapsed_seconds: float | None
    # the last optimizer step that the store knows
    step: int | None
    metric: str
    best: float | None
    best_step: int | None
    last: float | None
    # of a running one, how it is known that its process exists
    alive: str | None
    # what its test measured; of a sweep, that of its best trial
    test: dict[str, float]
    # of a sweep, the number of its best trial, or the numbers, and the ids of their runs
    best_trial: str | None
    best_run_id: str | None
    # where its page is
    page: str


@dataclass(frozen=True)
class RepairResult:
    """The result of a repair."""

    # the ids of runs whose processes were gone
    closed: list[str]
    # a line for each run with a waiting outbox
    delivered: list[str]
    # ended runs whose outbox still waits; that of a running one always does
    waiting: int


def list_run_summaries(
    store: Store,
    *,
    status: str | None,
    kind: str | None,
    tags: Mapping[str, str],
    limit: int,
    sort: str | None = None,
) -> list[RunSummary]:
    """Return the experiment's runs with this status, kind and tags: newest first, or the best by
    the metric `sort` first.
    """
    wanted = {"attributes.status": status, "tags.kind": kind}
    wanted |= {f"tags.{_quote_key(key)}": value for key, value in tags.items()}
    where = " AND ".join(
        f"{key} = {quote_for_filter(value, key)}"
        for key, value in wanted.items()
        if value is not None
    )
    order = []
    if sort is not None:
        order = [f"metrics.{_quote_key(sort)} {'ASC' if is_small_good(sort) else 'DESC'}"]
    found = store.search_runs(where, limit=limit, order_by=order)
    # those without the metric come last
    if sort is not None and found and sort not in found[0].metrics:
        known = sorted({name for run in store.search_runs(where) for name in run.metrics})
        raise UserError(f"--sort {sort}: no run has this metric; {format_suggestion(sort, known)}")
    if not found:
        _check_names(store, kind, tags)
    return [summarize_run(store, run) for run in found]


def _check_names(store: Store, kind: str | None, tags: Mapping[str, str]) -> None:
    """Raise UserError for a kind, or the key of a tag, that no run has; where there is no run at
    all, every one may be right.
    """
    runs = store.search_runs()
    if not runs:
        return
    if kind is not None and not store.search_runs(
        f"tags.kind = {quote_for_filter(kind, '--kind')}", limit=1
    ):
        known = sorted({run.tags["kind"] for run in runs if "kind" in run.tags})
        raise UserError(f"--kind {kind}: no run is of this kind; {format_known(kind, known)}")
    known = sorted({name for run in runs for name in run.tags if not name.startswith("mlflow.")})
    for name in tags:
        if not store.search_runs(f"tags.{_quote_key(name)} LIKE '%'", limit=1):
            typed = f"--tag {name}={tags[name]}"
            raise UserError(f"{typed}: no run has such a tag; {format_suggestion(name, known)}")


def _quote_key(key: str) -> str:
    """A key as MLflow's filters take it."""
    return f'"{key}"' if "`" in key else f"`{key}`"


def summarize_run(store: Store, run: RunInfo) -> RunSummary:
    """Return a run as a list shows it."""
    is_running = run.status == "RUNNING"
    best_trial = run.tags.get("search.best_trial")
    metric = run.params.get(_MONITOR_PARAM, "val/loss")
    if best_trial is not None:
        metric = next((name for name in run.metrics if name.startswith(_BEST_PREFIX)), metric)
    points: list[tuple[int, float]] = []
    if metric in run.metrics:
        history = store.open().client.get_metric_history(run.id, metric)
        # of a step that was trained again, the later value
        history = sorted(history, key=lambda point: point.timestamp)
        points = sorted({point.step: restore_infinity(point.value) for point in history}.items())
    choose = max if run.params.get("callbacks.checkpoint.mode") == "max" else min
    comparable = [point for point in points if math.isfinite(point[1])]
    best = choose(comparable, key=lambda point: point[1]) if comparable else None
    return RunSummary(
        id=run.id,
        name=run.name,
        kind=run.tags.get("kind", ""),
        status=run.status,
        reason=None if is_running else run.tags.get("failure.reason"),
        started_at=run.started_at / 1000,
        elapsed_seconds=time.time() - run.started_at / 1000 if is_running else run.elapsed_seconds,
        step=run.last_step,
        metric=metric.removeprefix(_BEST_PREFIX),
        best=points[-1][1] if points and best_trial else best[1] if best else None,
        best_step=best[0] if best and best_trial is None else None,
        last=points[-1][1] if points else None,
        alive=check_liveness(run.id, run.tags, store.runs_folder).explanation
        if is_running
        else None,
        test={
            name: restore_infinity(value)
            for name, value in sorted(_find_tested_metrics(store, run).items())
            if name.startswith("test/")
        },
        best_trial=best_trial,
        best_run_id=run.tags.get("search.best_run_id"),
        page=describe_ui_page(store.tracking_uri, format_ui_link(run.experiment_id, run.id)),
    )


def _find_tested_metrics(store: Store, run: RunInfo) -> Mapping[str, float]:
    """The metrics of a run; of a sweep those of its best trial, if there is one alone."""
    best = run.tags.get("search.best_run_id", "")
    if not best or " " in best:
        return run.metrics
    # it may have been removed for good since
    with suppress(MlflowException):
        metrics: dict[str, float] = store.open().client.get_run(best).data.metrics
        return metrics
    return run.metrics


def repair_store(store: Store) -> RepairResult:
    """Deliver what waits on this machine, then close the vanished runs of all experiments."""
    session = connect_to_store(store)
    delivered = deliver_pending_outboxes(session)
    closed: list[str] = []
    for experiment in session.client.search_experiments():
        closed += close_vanished_runs(session.client, experiment.experiment_id, store.runs_folder)
    folders = outbox.list_pending_outboxes(store.runs_folder)
    writers = [str(outbox.read_outbox_metadata(folder).get("process", "")) for folder in folders]
    return RepairResult(closed, delivered, waiting=sum(map(is_process_gone, writers)))
