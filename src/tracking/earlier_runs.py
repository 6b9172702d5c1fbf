"""Earlier runs: found by their ids, and their artifacts fetched."""

import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from src.core.printing import print_line
from src.core.registered_names import RUN_ADDRESS
from src.core.user_errors import UserError, did_you_mean, suggest
from src.tracking.client import StoreSession
from src.tracking.foreign_run_names import LATEST, explain_foreign_run
from src.tracking.mlflow_format import (
    measure_seconds,
    quote_for_filter,
    restore_infinity,
    to_local_path,
)
from src.tracking.outbox import link_or_copy, validate_artifact_path

# newest runs that are asked for an encoder
_LOOKED_INTO = 20
_ID_START = re.compile(r"[0-9a-fA-F]{6,32}$")
# metrics whose steps are optimizer steps
_STEPPED_PREFIXES = ("train/", "val/", "test/")


@dataclass(frozen=True)
class RunInfo:
    """A run as the store knows it."""

    id: str
    name: str
    status: str
    experiment_id: str
    artifact_uri: str
    # milliseconds since 1970
    started_at: int
    # of a run that goes on, that of its earlier end: MLflow cannot take it back
    ended_at: int | None
    # as of `measure_seconds`
    elapsed_seconds: float | None
    tags: dict[str, str]
    params: dict[str, str]
    # by metric, the last value
    metrics: dict[str, float]
    # by metric, the step of the last value
    last_steps: dict[str, int]

    @property
    def last_step(self) -> int | None:
        """The optimizer step of the newest value; None if there is none yet."""
        return max(
            (step for key, step in self.last_steps.items() if key.startswith(_STEPPED_PREFIXES)),
            default=None,
        )

    def __str__(self) -> str:
        return f"{self.id} ({self.name}, {self.status})"


# such as modernbert-base, without an owner
_HUB_NAME = re.compile(r"[A-Za-z]\w*(-[\w.]+)+")


def find_run(session: StoreSession, typed: str, key: str) -> RunInfo:
    """Return the run that was typed.

    This is the run with that id, or the only run whose id begins so; else the newest run of that
    name; `latest` is the newest run of the session's experiment that is no trial of a sweep. What
    was not an id is said on stderr with the run that was taken.

    Raises:
        UserError: there is no such run, or several ids begin so, or it is in the UI's bin; the
            message names `key`. `init_from` takes no `latest`, which means another run tomorrow.
    """
    wanted = typed.strip()
    run = _find_by_id(session, wanted.lower(), typed, key) if _ID_START.match(wanted) else None
    if run is not None:
        return run
    if wanted == LATEST and key != "init_from":
        run = _find_latest(session, typed, key)
    else:
        run = _find_by_name(session, wanted)
        if run is None and wanted == LATEST:
            raise UserError(
                f"{key}={LATEST}: the command that is kept with the run would mean another run "
                f"tomorrow, so a run is named here; {_name_latest_encoder(session)}"
            )
    if run is not None:
        print_line(f"{key}={typed}: run {run}", to_stderr=True)
        return run
    if _ID_START.match(wanted):
        raise UserError(
            f"{key}={typed!r}: there is no such run in {session.store.tracking_uri}; "
            f"{_suggest_run(session, wanted.lower())}"
        )
    raise UserError(
        f"{key}={typed!r} is not a run id: expected its 32 hexadecimal digits, the first 6 or more "
        "of them, or a run's name; "
        + (explain_foreign_run(wanted) or _suggest_name(session, wanted, key))
    )


def _find_by_id(session: StoreSession, wanted: str, typed: str, key: str) -> RunInfo | None:
    runs = _search_all_experiments(
        session, f"attributes.run_id LIKE '{wanted}%'", limit=5, view=ViewType.ALL
    ) or _search_all_experiments(
        # that which it had while it was kept offline
        session,
        f"tags.local_id LIKE '{wanted}%'",
        limit=5,
        view=ViewType.ALL,
    )
    if len(runs) > 1:
        raise UserError(
            f"{key}={typed!r} begins several runs: {_join_runs(runs)}; give more digits"
        )
    if runs and runs[0].info.lifecycle_stage == "deleted":
        run = _to_run_info(runs[0])
        experiment = session.client.get_experiment(runs[0].info.experiment_id)
        if experiment.lifecycle_stage == "deleted":
            raise UserError(
                f"{key}={typed!r}: run {run} is in the UI's bin with its experiment "
                f"{experiment.name}: mlflow experiments restore --experiment-id "
                f"{experiment.experiment_id} brings both back"
            )
        raise UserError(
            f"{key}={typed!r}: run {run} is in the UI's bin; restore it there to use it"
        )
    return _to_run_info(runs[0]) if runs else None


def _find_by_name(session: StoreSession, name: str) -> RunInfo | None:
    """The newest run that is called so in the UI, else the newest whose config has that `name`."""
    if not name or re.search(r"[\x00-\x1f]", name) or {"'", '"'} <= set(name):
        return None
    quoted = quote_for_filter(name, "name")
    for attribute in ("attributes.run_name", "params.name"):
        if runs := _search_all_experiments(session, f"{attribute} = {quoted}", limit=1):
            return _to_run_info(runs[0])
    return None


def _find_latest(session: StoreSession, typed: str, key: str) -> RunInfo:
    token, found = None, 0
    while True:
        runs = session.client.search_runs(
            [session.experiment_id], "", max_results=1000, page_token=token
        )
        for run in runs:
            if MLFLOW_PARENT_RUN_ID not in run.data.tags:
                return _to_run_info(run)
        token, found = runs.token, found + len(runs)
        if not token:
            break
    if found:
        raise UserError(
            f"{key}={typed!r}: all {found:,} runs are trials of sweeps that are gone; "
            f"{_describe_latest_runs(session)}"
        )
    raise UserError(f"{key}={typed!r}: no run has been kept yet")


def _name_latest_encoder(session: StoreSession) -> str:
    """What is typed for the newest run with an encoder; the newest runs where none of these has
    one.
    """
    for run in map(_to_run_info, _search_all_experiments(session, "", limit=_LOOKED_INTO)):
        if has_model_folder(session, run):
            return f"init_from={run.id[:8]} is the newest with an encoder ({run.name})"
    return _describe_latest_runs(session)


def search_runs(
    session: StoreSession, where: str, limit: int, order_by: Sequence[str] = ()
) -> list[RunInfo]:
    """Return runs of the session's experiment, newest first behind other orders."""
    runs = session.client.search_runs(
        [session.experiment_id], where, max_results=limit, order_by=list(order_by)
    )
    return [_to_run_info(run) for run in runs]


def fetch_model_folder(session: StoreSession, run_id: str, key: str) -> Path:
    """Return the Hugging Face folder that is the run's artifact `model`.

    It is downloaded once if a server keeps it. Raises UserError if there is none.
    """
    run = find_run(session, run_id, key)
    if not has_model_folder(session, run):
        if best := run.tags.get("search.best_run_id"):
            raise UserError(
                f"{key}={run_id!r}: run {run.id} ({run.name}) is a sweep; its best trial is run "
                f"{best}"
            )
        reason = run.tags.get("failure.reason")
        ended = f"{run.status}: {reason}" if reason else run.status
        held = ", ".join(sorted(_list_artifacts(session, run))) or "nothing"
        raise UserError(
            f"{key}={run_id!r}: run {run.id} ({run.name}) has no encoder; its status is {ended}; "
            f"it holds {held}"
        )
    folder = to_local_path(run.artifact_uri)
    return folder / "model" if folder else _download_model(session, run, key)


def has_model_folder(session: StoreSession, run: RunInfo) -> bool:
    """True if a run has an artifact `model`."""
    return "model/config.json" in _list_artifacts(session, run, "model")


def load_config_yaml(session: StoreSession, run_id: str, key: str) -> str:
    """Return the text of the run's artifact `config.yaml`."""
    run = find_run(session, run_id, key)
    text = load_artifact_text(session, run, "config.yaml", key)
    if text is None:
        raise UserError(
            f"{key}={run_id!r}: run {run} holds no config.yaml, so what it was asked to do is not "
            "known"
        )
    return text


def load_artifact_text(session: StoreSession, run: RunInfo, artifact: str, key: str) -> str | None:
    """Return the text of one of the run's artifacts; None if it has none of this name."""
    if artifact not in _list_artifacts(session, run):
        return None
    folder = to_local_path(run.artifact_uri)
    if folder is not None:
        return (folder / artifact).read_text(encoding="utf-8")
    failure = f"{key}={run.id}: its {artifact} cannot be fetched from {session.store.tracking_uri}"
    with tempfile.TemporaryDirectory() as draft:
        return _download(session, run, artifact, draft, failure).read_text(encoding="utf-8")


def read_metric_histories(session: StoreSession, run: RunInfo) -> dict[str, dict[int, float]]:
    """Return all values of all metrics of a run: by metric, by step; of a step that was trained
    again, the later value.
    """
    histories = {}
    for name in run.metrics:
        points = session.client.get_metric_history(run.id, name)
        points.sort(key=lambda point: point.timestamp)
        histories[name] = {point.step: restore_infinity(point.value) for point in points}
    return histories


def fetch_artifacts(session: StoreSession, run_id: str, artifact: str, folder: Path) -> bool:
    """Have the files of a run's artifact folder in `folder`; False if the run has none.

    Each file is complete or missing. Files that `folder` already has stay as they are; folders in
    the artifact folder are left out.
    """
    run = find_run(session, run_id, "run_id")
    files = session.client.list_artifacts(run.id, artifact)
    names = [file.path.rpartition("/")[2] for file in files if not file.is_dir]
    folder.mkdir(parents=True, exist_ok=True)
    local_folder = to_local_path(run.artifact_uri)
    for name in names:
        if name in ("", ".", "..") or validate_artifact_path(name).parts != (name,):
            raise UserError(
                f"run {run.id} of {session.store.tracking_uri} names a file {name!r}: a plain "
                "name was expected"
            )
        if (folder / name).exists():
            continue
        if local_folder is not None:
            link_or_copy(local_folder / artifact / name, folder / name)
            continue
        failure = f"{artifact}/{name} of run {run.id} cannot be fetched"
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            _download(session, run, f"{artifact}/{name}", draft, failure).replace(folder / name)
    return bool(names)


def _list_artifacts(session: StoreSession, run: RunInfo, folder: str | None = None) -> list[str]:
    return [artifact.path for artifact in session.client.list_artifacts(run.id, folder)]


def _download_model(session: StoreSession, run: RunInfo, key: str) -> Path:
    """Download the model under another name and rename it, so that the folder is complete."""
    target = session.store.runs_folder / "fetched" / run.id / "model"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    failure = f"{key}={run.id}: its encoder cannot be fetched from {session.store.tracking_uri}"
    with tempfile.TemporaryDirectory(dir=target.parent) as draft:
        model = _download(session, run, "model", draft, failure)
        try:
            model.rename(target)
        except OSError:
            # another process may have been faster
            if not target.exists():
                raise
    return target


def _download(
    session: StoreSession, run: RunInfo, artifact: str, folder: str, failure: str
) -> Path:
    """Download an artifact into a folder. Raises UserError, whose message begins with `failure`."""
    try:
        return Path(session.client.download_artifacts(run.id, artifact, folder))
    except (MlflowException, OSError) as error:
        raise UserError(f"{failure}: {error}") from error


def _search_all_experiments(
    session: StoreSession, where: str, limit: int, view: int = ViewType.ACTIVE_ONLY
) -> Sequence[Run]:
    """Return runs of all experiments, since an encoder may come from any."""
    try:
        experiments = session.client.search_experiments(view_type=ViewType.ALL)
        ids = [experiment.experiment_id for experiment in experiments]
        return session.client.search_runs(ids, where, run_view_type=view, max_results=limit)
    except MlflowException as error:
        raise UserError(
            f"{session.store.tracking_uri} does not answer: {' '.join(str(error).split())[:300]}"
        ) from error


def _suggest_run(session: StoreSession, wanted: str) -> str:
    """Return the end of a message about an unknown id: the run with the nearest id, or the latest
    runs.
    """
    runs = _search_all_experiments(session, "", limit=1000)
    by_beginning = {run.info.run_id[: len(wanted)]: run for run in runs}
    near = get_close_matches(wanted, by_beginning, n=1, cutoff=0.7)
    if near:
        return f"did you mean {_to_run_info(by_beginning[near[0]])}?"
    return _describe_latest_runs(session)


def _suggest_name(session: StoreSession, wanted: str, key: str) -> str:
    """The same for a name that no run has; a model may have it, where one is to begin from."""
    runs = _search_all_experiments(session, "", limit=1000)
    # as they are shown, and as they were typed
    names = [name for run in runs for name in (run.info.run_name, run.data.params.get("name"))]
    near = suggest(wanted, filter(None, names))
    if near is not None:
        return did_you_mean(near)
    if address := RUN_ADDRESS.match(wanted):
        return did_you_mean(address[1])
    latest = _describe_latest_runs(session)
    if key != "init_from" or not _HUB_NAME.fullmatch(wanted):
        return latest
    return (
        f"{latest}; a model of the hub is, without init_from, model/encoder=pretrained "
        f"data/tokenizer=pretrained model.encoder.name_or_path={wanted}"
    )


def _describe_latest_runs(session: StoreSession) -> str:
    latest = _search_all_experiments(session, "", limit=3)
    if not latest:
        return "no run has been kept yet"
    return (
        f"the latest are {_join_runs(latest)}; `{session.store.build_runs_command()}` lists all "
        "runs"
    )


def _join_runs(runs: Iterable[Run]) -> str:
    return ", ".join(str(_to_run_info(run)) for run in runs)


def _to_run_info(run: Run) -> RunInfo:
    info = run.info
    # folders are named after the id
    if not re.fullmatch(r"[0-9a-f]{32}", info.run_id):
        raise UserError(f"the store names a run {info.run_id!r}: expected 32 hexadecimal digits")
    return RunInfo(
        id=info.run_id,
        name=info.run_name,
        status=info.status,
        experiment_id=info.experiment_id,
        artifact_uri=info.artifact_uri,
        started_at=info.start_time,
        ended_at=info.end_time,
        elapsed_seconds=measure_seconds(info.status, info.start_time, info.end_time),
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        last_steps={metric.key: metric.step for metric in run.data._metric_objs},
    )
