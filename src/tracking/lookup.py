"""Earlier runs by their id, and the encoders they left."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from src.terms.fault import Fault
from src.tracking.delivery import local_path
from src.tracking.outbox import inside, keep
from src.tracking.redaction import hidden
from src.tracking.session import Session

_HOW_TO_LIST = "`python -m src.runs` lists all runs"
_STEPPED = ("train/", "val/", "test/")  # metrics whose steps are optimizer steps


@dataclass(frozen=True)
class RunInfo:
    """What is known of a run. `metrics` holds the last value of each."""

    id: str
    name: str
    status: str
    experiment_id: str
    artifact_uri: str
    started_at: int  # milliseconds since 1970
    ended_at: int | None
    elapsed_seconds: float | None  # None while it runs
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    steps: dict[str, int]  # by metric, the last step at which the store has it

    @property
    def last_step(self) -> int | None:
        """The optimizer step of the newest point; None where there is no point yet."""
        return max((step for key, step in self.steps.items() if key.startswith(_STEPPED)), default=None)

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
        if best := run.tags.get("search.best_run_id"):
            raise Fault(f"{key}={run_id!r}: run {run.id} ({run.name}) is a sweep; its best trial is run {best}")
        reason = run.tags.get("failure.reason")
        ended = f"{run.status}: {reason}" if reason else run.status
        held = ", ".join(sorted(_artifacts(session, run))) or "nothing"
        raise Fault(
            f"{key}={run_id!r}: run {run.id} ({run.name}) has no encoder; its status is {ended}; it holds {held}"
        )
    place = local_path(run.artifact_uri)
    return place / "model" if place else _fetched(session, run, key)


def config(session: Session, run_id: str, key: str) -> str:
    """The text of the run's artifact `config.yaml`."""
    run = find(session, run_id, key)
    if "config.yaml" not in _artifacts(session, run):
        raise Fault(f"{key}={run_id!r}: run {run} holds no config.yaml, so what it was asked to do is not known")
    place = local_path(run.artifact_uri)
    if place is not None:
        return (place / "config.yaml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        try:
            got = session.client.download_artifacts(run.id, "config.yaml", folder)
            return Path(got).read_text(encoding="utf-8")
        except (MlflowException, OSError) as error:
            raise Fault(f"{key}={run.id}: its config cannot be fetched from {_place(session)}: {error}") from error


def fetch(session: Session, run_id: str, artifact: str, folder: Path) -> bool:
    """Have the files of an artifact folder (not those of folders in it) in `folder`, each whole or absent.

    False where the run holds none. A file that `folder` has already stays as it is.
    """
    run = find(session, run_id, "run_id")
    listed = session.client.list_artifacts(run.id, artifact)
    names = [each.path.rpartition("/")[2] for each in listed if not each.is_dir]
    folder.mkdir(parents=True, exist_ok=True)
    place = local_path(run.artifact_uri)
    for name in names:
        if name in ("", ".", "..") or inside(name).parts != (name,):
            raise Fault(f"run {run.id} of {_place(session)} names a file {name!r}: a plain name was expected")
        if (folder / name).exists():
            continue
        if place is not None:
            keep(place / artifact / name, folder / name)
            continue
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            try:
                got = session.client.download_artifacts(run.id, f"{artifact}/{name}", draft)
                os.replace(got, folder / name)
            except (MlflowException, OSError) as error:
                raise Fault(f"{artifact}/{name} of run {run.id} cannot be fetched: {error}") from error
    return bool(names)


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
    if not re.fullmatch(r"[0-9a-f]{32}", info.run_id):  # folders are named after it
        raise Fault(f"the store names a run {info.run_id!r}: expected 32 hexadecimal digits")
    return RunInfo(
        id=info.run_id,
        name=info.run_name,
        status=info.status,
        experiment_id=info.experiment_id,
        artifact_uri=info.artifact_uri,
        started_at=info.start_time,
        ended_at=info.end_time,
        elapsed_seconds=_elapsed(run),
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        steps={each.key: each.step for each in run.data._metric_objs},
    )


def _elapsed(run: Run) -> float | None:
    """None while it runs. A run that goes on keeps the time of its earlier end: MLflow cannot take it away."""
    info = run.info
    running = info.end_time is None or info.status == "RUNNING"
    return None if running else (info.end_time - info.start_time) / 1000
