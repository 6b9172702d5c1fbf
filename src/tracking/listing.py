"""Runs as a person wants to see them listed, and what is mended on the way: runs that died, writes that wait."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from src.terms.fault import Fault
from src.tracking import outbox
from src.tracking.delivery import deliver_all
from src.tracking.lookup import RunInfo
from src.tracking.session import connect
from src.tracking.store import Store
from src.tracking.vanished import close_vanished, is_gone, pulse

STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
_MONITOR = "callbacks.checkpoint.monitor"


@dataclass(frozen=True)
class Listed:
    """One run in a list. `best` and `last` are of the metric by which its checkpoints are judged, None without one."""

    id: str
    name: str
    kind: str
    status: str
    reason: str | None
    started_at: float  # seconds since 1970
    elapsed_seconds: float
    step: int | None  # the last optimizer step of which the store knows
    metric: str
    best: float | None
    best_step: int | None
    last: float | None
    alive: str | None  # how it is known that a running one lives


@dataclass(frozen=True)
class Repaired:
    """What was mended: the ids of runs that are KILLED now, and a line on each run whose writes waited.

    `waiting` counts the ended runs that still have writes in the outbox; a living one has always some.
    """

    closed: list[str]
    delivered: list[str]
    waiting: int


def listed(store: Store, *, status: str | None, kind: str | None, tags: Mapping[str, str], limit: int) -> list[Listed]:
    """The experiment's runs that are like that, newest first."""
    wanted = {"attributes.status": status, "tags.kind": kind} | {f"tags.`{key}`": tags[key] for key in tags}
    for key, value in wanted.items():
        if value is not None and "'" in value:
            raise Fault(f"{value!r}: a quotation mark cannot be searched for ({key})")
    where = " AND ".join(f"{key} = '{value}'" for key, value in wanted.items() if value is not None)
    return [one(store, run) for run in store.runs(where, limit=limit)]


def one(store: Store, run: RunInfo) -> Listed:
    """What a list says of a run."""
    running = run.status == "RUNNING"
    metric = run.params.get(_MONITOR, "val/loss")
    history = store.client().get_metric_history(run.id, metric) if metric in run.metrics else []
    points = sorted((each.step, each.value) for each in history)
    choose = max if run.params.get("callbacks.checkpoint.mode") == "max" else min
    best = choose(points, key=lambda point: point[1]) if points else None
    elapsed = None if running else run.elapsed_seconds
    return Listed(
        id=run.id,
        name=run.name,
        kind=run.tags.get("kind", ""),
        status=run.status,
        reason=run.tags.get("failure.reason") if not running else None,
        started_at=run.started_at / 1000,
        elapsed_seconds=time.time() - run.started_at / 1000 if elapsed is None else elapsed,
        step=run.last_step,
        metric=metric,
        best=best[1] if best else None,
        best_step=best[0] if best else None,
        last=points[-1][1] if points else None,
        alive=pulse(run.id, run.tags, store.runs_folder).words if running else None,
    )


def repair(store: Store) -> Repaired:
    """Deliver what waits on this machine, then mark the runs of all experiments that died."""
    session = connect(store)
    delivered = deliver_all(session)
    experiments = session.client.search_experiments()
    closed = [
        run_id
        for each in experiments
        for run_id in close_vanished(session.client, each.experiment_id, store.runs_folder)
    ]
    left = [each for each in outbox.waiting(store.runs_folder) if is_gone(str(outbox.about(each).get("process", "")))]
    return Repaired(closed, delivered, len(left))
