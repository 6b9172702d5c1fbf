"""An open store: MLflow's client and the experiment's id."""

import functools
import os
import re
from dataclasses import dataclass

from mlflow import MlflowClient, set_tracking_uri
from mlflow.exceptions import MlflowException

from src.terms.fault import Fault
from src.terms.startup import importing
from src.tracking import database, vanished
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

_WAYS_ON = (
    "leave tracking.uri at null to keep runs in mlruns/mlflow.db, or type tracking=offline and send the run to the "
    "store later (python -m src.sync)"
)


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
    opened = connect(store)
    from src.tracking.delivery import deliver_all

    for line in deliver_all(opened):  # first: it may hold the status of a run that is gone
        print(f"tracking: {line}")
    try:
        vanished.close_vanished(opened.client, opened.experiment_id, store.runs_folder)
    except MlflowException as error:
        raise Fault(_reason(store, error)) from error
    return opened


def connect(store: Place) -> Session:
    """A new session that does nothing yet. Raises Fault where the store cannot be reached, or refuses."""
    if store.offline:
        raise Fault(
            "tracking=offline asks no store, so earlier runs cannot be looked up: use the store that has them "
            "(tracking=local, or tracking.uri=...), or send runs kept offline to it first: python -m src.sync"
        )
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if store.database is not None:
        database.prepare(store.database, store.artifacts)
    elif store.address.startswith("http"):
        _answer(store)
    else:
        _admit(store)
    try:
        set_tracking_uri(store.address)
        with importing():
            client = MlflowClient(store.address)
        return Session(store, client, _experiment_id(client, store))
    except MlflowException as error:
        raise Fault(_reason(store, error)) from error


def _answer(store: Place) -> None:
    """Ask the server for a sign of life: 5 seconds, not the minutes that MLflow would retry."""
    import requests

    try:
        requests.get(f"{store.address.rstrip('/')}/health", timeout=5)
    except requests.RequestException as error:
        raise Fault(
            f"tracking.uri={hidden(store.address)}: no server answers there ({type(error).__name__}); "
            f"start it, {_WAYS_ON}"
        ) from error


def _admit(store: Place) -> None:
    """Ask a database server to let us in: MLflow itself would retry for two minutes, also with a wrong password."""
    import sqlalchemy

    address = hidden(store.address)
    try:
        engine = sqlalchemy.create_engine(store.address)
        timed = engine.dialect.driver in ("psycopg2", "psycopg", "pymysql", "mysqldb")
        engine = sqlalchemy.create_engine(store.address, connect_args={"connect_timeout": 5} if timed else {})
        with engine.connect():
            pass
        engine.dispose()
    except ModuleNotFoundError as error:
        raise Fault(f"tracking.uri={address} needs the package {error.name}: pip install {error.name}") from error
    except ValueError as error:  # of its port; the error quotes what may be part of a password
        raise Fault(
            f"tracking.uri={address} is no well-formed address: expected "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
            "special characters of the password written as %40 for @, %3A for : and %2F for /"
        ) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        cause = hidden(" ".join(str(getattr(error, "orig", None) or error).split()))
        raise Fault(f"tracking.uri={address} does not let us in ({cause}); mend it, {_WAYS_ON}") from error


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
    name = re.sub(r"[^\w.-]+", "_", store.experiment)
    return str(store.artifacts / (re.sub(r"^\.+", "_", name)))  # `..` would be the folder above


def _reason(store: Place, error: MlflowException) -> str:
    if "out-of-date database schema" in error.message:
        return (
            f"{hidden(store.address)} was written by another version of MLflow; "
            f"copy it to keep it safe, then: mlflow db upgrade {hidden(store.address)}"
        )
    return f"tracking.uri={hidden(store.address)} cannot be opened: {hidden(' '.join(error.message.split()))}"
