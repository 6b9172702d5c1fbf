"""Earlier runs by their id, and the encoders they left."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote, urlparse

from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from src.terms.fault import Fault
from src.tracking.redaction import hidden
from src.tracking.session import Session

_HOW_TO_LIST = "`python -m src.ui` lists all runs"


@dataclass(frozen=True)
class RunInfo:
    """What is known of a run. `metrics` holds the last value of each."""

    id: str
    name: str
    status: str
    experiment_id: str
    artifact_uri: str
    started_at: int  # milliseconds since 1970
    elapsed_seconds: float | None  # None while it runs
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]

    def __str__(self) -> str:
        return f"{self.id} ({self.name}, {self.status})"


def find(session: Session, run_id: str, key: str) -> RunInfo:
    """The run with this id or the only one whose id begins so. Everything else is a Fault that names `key`."""
    wanted = run_id.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{6,32}", wanted):
        raise Fault(
            f"{key}={run_id!r} is not a run id: expected its 32 hexadecimal digits, or the first 6 or more of them; "
            f"{_latest(session)}"
        )
    found = _search(session, f"attributes.run_id LIKE '{wanted}%'", limit=5, view=ViewType.ALL)
    if not found:
        raise Fault(f"{key}={run_id!r}: there is no such run in {_place(session)}; {_nearest(session, wanted)}")
    if len(found) > 1:
        raise Fault(f"{key}={run_id!r} begins several runs: {_listed(found)}; give more digits")
    if found[0].info.lifecycle_stage == "deleted":
        raise Fault(f"{key}={run_id!r}: run {_info(found[0])} is in the UI's bin; restore it there to use it")
    return _info(found[0])


def runs(session: Session, where: str, limit: int) -> list[RunInfo]:
    """Runs of the session's experiment, newest first."""
    found = session.client.search_runs([session.experiment_id], where, max_results=limit)
    return [_info(run) for run in found]


def model_folder(session: Session, run_id: str, key: str) -> Path:
    """The run's artifact `model/`, a Hugging Face folder: in place, or fetched once where a server keeps it."""
    run = find(session, run_id, key)
    names = {Path(each).name for each in _artifacts(session, run, "model")}
    if "config.json" not in names:
        reason = run.tags.get("failure.reason")
        ended = f"{run.status}: {reason}" if reason else run.status
        held = ", ".join(sorted(_artifacts(session, run))) or "nothing"
        raise Fault(
            f"{key}={run_id!r}: run {run.id} ({run.name}) has no encoder; its status is {ended}; it holds {held}"
        )
    place = _local(run.artifact_uri)
    return place / "model" if place else _fetched(session, run, key)


def _artifacts(session: Session, run: RunInfo, folder: str | None = None) -> list[str]:
    return [each.path for each in session.client.list_artifacts(run.id, folder)]


def _fetched(session: Session, run: RunInfo, key: str) -> Path:
    """Downloaded beside and renamed at the end, so a folder of that name is always whole."""
    target = session.store.runs_folder / "fetched" / run.id / "model"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = tempfile.mkdtemp(dir=target.parent)
    try:
        got = session.client.download_artifacts(run.id, "model", draft)
        if not target.exists():  # else another process was faster
            os.rename(got, target)
    except (MlflowException, OSError) as error:
        raise Fault(f"{key}={run.id}: its encoder cannot be fetched from {_place(session)}: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _local(uri: str) -> Path | None:
    parsed = urlparse(uri)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    return Path(uri) if parsed.scheme == "" else None


def _search(session: Session, where: str, limit: int, view: int = ViewType.ACTIVE_ONLY) -> Sequence[Run]:
    """Runs of all experiments: an encoder may come from any."""
    try:
        everywhere = [each.experiment_id for each in session.client.search_experiments(view_type=ViewType.ALL)]
        return session.client.search_runs(everywhere, where, run_view_type=view, max_results=limit)
    except MlflowException as error:
        raise Fault(f"{_place(session)} does not answer: {hidden(' '.join(str(error).split()))[:300]}") from error


def _nearest(session: Session, wanted: str) -> str:
    known = {run.info.run_id: run for run in _search(session, "", limit=1000)}
    heads = {run_id[: len(wanted)]: run for run_id, run in known.items()}
    near = get_close_matches(wanted, heads, n=1, cutoff=0.7)
    return f"did you mean {_info(heads[near[0]])}?" if near else _latest(session)


def _latest(session: Session) -> str:
    latest = _search(session, "", limit=3)
    return f"the latest are {_listed(latest)}; {_HOW_TO_LIST}" if latest else "no run has been kept yet"


def _listed(some: Iterable[Run]) -> str:
    return ", ".join(str(_info(run)) for run in some)


def _place(session: Session) -> str:
    return hidden(session.store.address)


def _info(run: Run) -> RunInfo:
    info = run.info
    return RunInfo(
        id=info.run_id,
        name=info.run_name,
        status=info.status,
        experiment_id=info.experiment_id,
        artifact_uri=info.artifact_uri,
        started_at=info.start_time,
        elapsed_seconds=None if info.end_time is None else (info.end_time - info.start_time) / 1000,
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
    )
