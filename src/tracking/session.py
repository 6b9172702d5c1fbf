"""An open store: MLflow's client and the experiment's id."""

import functools
import os
import re
from dataclasses import dataclass

from mlflow import MlflowClient, set_tracking_uri
from mlflow.exceptions import MlflowException

from src.terms.fault import Fault
from src.terms.startup import importing
from src.tracking import database, outbox, vanished
from src.tracking.place import Place
from src.tracking.redaction import hidden

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",  # what is too long is an error, or a file of ours; never a silent cut
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's own 7 hold a run up for minutes when a server is gone
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


@dataclass(frozen=True)
class Session:
    """`store`, opened by this process."""

    store: Place
    client: MlflowClient
    experiment_id: str

    def link(self, run_id: str | None = None) -> str:
        """The page of a run, or of all runs, below the UI's address."""
        runs = f"#/experiments/{self.experiment_id}/runs"
        return f"{runs}/{run_id}" if run_id else runs


def session(store: Place) -> Session:
    """The one session of this process with `store`."""
    opened = _open(store)
    set_tracking_uri(store.address)
    return opened


@functools.cache
def _open(store: Place) -> Session:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if store.database is not None:
        database.prepare(store.database, store.artifacts)
    elif store.address.startswith("http"):
        _answer(store)
    try:
        set_tracking_uri(store.address)
        with importing():
            client = MlflowClient(store.address)
        opened = Session(store, client, _experiment_id(client, store))
        outbox.deliver(client, store.runs_folder / "outbox")  # first: it may hold the status of a run that is gone
        if store.database is not None:
            vanished.close_vanished(client, opened.experiment_id)
    except MlflowException as error:
        raise Fault(_reason(store, error)) from error
    return opened


def _answer(store: Place) -> None:
    """Ask the server for a sign of life: 5 seconds, not the minutes that MLflow would retry."""
    import requests

    try:
        requests.get(f"{store.address.rstrip('/')}/health", timeout=5)
    except requests.RequestException as error:
        raise Fault(
            f"tracking.uri={hidden(store.address)}: no server answers there ({type(error).__name__}); "
            "start it, or leave tracking.uri at null to keep runs in mlruns/mlflow.db"
        ) from error


def _experiment_id(client: MlflowClient, store: Place) -> str:
    found = client.get_experiment_by_name(store.experiment)
    if found is None:
        try:
            return client.create_experiment(store.experiment, artifact_location=_artifact_location(store))
        except MlflowException:
            # Another process was first; if not, the error is a real one.
            found = client.get_experiment_by_name(store.experiment)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise Fault(
            f"tracking.experiment={store.experiment} is in the UI's bin: restore it there "
            f"(mlflow experiments restore --experiment-id {found.experiment_id}), or use another name"
        )
    return found.experiment_id


def _artifact_location(store: Place) -> str | None:
    """Absolute: MLflow would put a relative one below the folder in which the process was started."""
    if store.address.startswith("http"):
        return None  # the server knows
    return str(store.artifacts / re.sub(r"[^\w.-]+", "_", store.experiment))


def _reason(store: Place, error: MlflowException) -> str:
    if "out-of-date database schema" in error.message:
        return (
            f"{hidden(store.address)} was written by another version of MLflow; "
            f"copy it to keep it safe, then: mlflow db upgrade {hidden(store.address)}"
        )
    return f"tracking.uri={hidden(store.address)} cannot be opened: {hidden(' '.join(error.message.split()))}"
