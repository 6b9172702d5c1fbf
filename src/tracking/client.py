"""The connection to a store: MLflow's client and the experiment's id.

A store that cannot be reached, or refuses, is reported within seconds, before a run begins.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow import MlflowClient, set_tracking_uri
from mlflow.exceptions import MlflowException

from src.core.mlflow_environment import keep_mlflow_environment
from src.core.startup import pause_gc
from src.core.user_errors import UserError, format_known
from src.tracking.database import prepare_database
from src.tracking.database_server import check_database_login, open_database_alone
from src.tracking.ui_pages import VIEW_TAG, build_table_view, describe_ui_page, format_ui_link

if TYPE_CHECKING:
    from mlflow.entities import Experiment

    from src.tracking.store import Store

_MLFLOW_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # a value that is too long is an error, or a file of ours, and is never cut in silence
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's default of 7 delays a run for minutes when a server is gone
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}

# Of these only a run knows the second: commands that record nothing leave it out.
_OTHER_STORE_HINT = "or use the store in mlruns/mlflow.db, by {key}=null"
_OFFLINE_ALTERNATIVE = ("tracking", "offline keeps a run here, until python -m src.sync sends it")


@dataclass(frozen=True)
class StoreSession:
    """An open connection to a store, for one experiment."""

    store: "Store"
    client: MlflowClient
    experiment_id: str

    def build_ui_link(self, run_id: str | None = None) -> str:
        """Return the path of a run's page, or that of all runs, relative to the UI's address."""
        return format_ui_link(self.experiment_id, run_id)

    def link_run(self, run_id: str) -> str:
        """Return a link in Markdown to a run's page, for descriptions that the UI shows."""
        return f"[{run_id[:8]}]({self.build_ui_link(run_id)})"

    def describe_ui_page(self, run_id: str | None = None) -> str:
        """Return where to see a run, or all of them, for a person."""
        return describe_ui_page(self.store.tracking_uri, self.build_ui_link(run_id))


def connect_to_store(store: "Store") -> StoreSession:
    """Connect to a store; a SQLite file and the experiment are created if they are missing.

    Waiting outboxes stay where they are: `Store.open` delivers them.

    Raises:
        UserError: the store cannot be reached, refuses the connection, or is `tracking=offline`.
    """
    client = _connect_client(store)
    try:
        return StoreSession(store, client, _get_or_create_experiment(client, store))
    except MlflowException as error:
        raise store_error(store, error) from error


def check_experiment(store: "Store") -> None:
    """Raise UserError where a store that is only read has no such experiment; none is created."""
    client = _connect_client(store)
    try:
        experiment = client.get_experiment_by_name(store.experiment)
        if experiment is not None:
            _refuse_deleted(experiment)
            return
        known = sorted(experiment.name for experiment in client.search_experiments())
    except MlflowException as error:
        raise store_error(store, error) from error
    raise UserError(
        "there is no such experiment",
        key="tracking.experiment",
        value=store.experiment,
        hint=format_known(store.experiment, known),
    )


def _connect_client(store: "Store") -> MlflowClient:
    if store.offline:
        raise UserError(
            "tracking=offline asks no store, so earlier runs cannot be looked up: use the store "
            "that has them (tracking=local, or tracking.uri=...), or send runs kept offline to it "
            f"first: {store.build_sync_command()}"
        )
    for name, value in _MLFLOW_SETTINGS.items():
        os.environ.setdefault(name, value)
    if store.sqlite_file is not None:
        prepare_database(store.sqlite_file, store.artifacts_folder)
    elif store.tracking_uri.startswith("http"):
        _check_server(store)
    else:
        check_database_login(store.tracking_uri, _OTHER_STORE_HINT, _OFFLINE_ALTERNATIVE)
    try:
        with (
            keep_mlflow_environment(),
            pause_gc(),
            open_database_alone(store.tracking_uri),
        ):
            set_tracking_uri(store.tracking_uri)
            return MlflowClient(store.tracking_uri)
    except MlflowException as error:
        raise store_error(store, error) from error


def _check_server(store: "Store") -> None:
    """Ask the server whether it is healthy, for 5 seconds; MLflow would retry for minutes."""
    import requests

    try:
        requests.get(f"{store.tracking_uri.rstrip('/')}/health", timeout=5)
    except requests.RequestException as error:
        raise UserError(
            f"no server answers there ({type(error).__name__})",
            key="tracking.uri",
            value=store.tracking_uri,
            hint=f"start it, {_OTHER_STORE_HINT}",
            alternative=_OFFLINE_ALTERNATIVE,
        ) from error


def _get_or_create_experiment(client: MlflowClient, store: "Store") -> str:
    experiment = client.get_experiment_by_name(store.experiment)
    if experiment is None:
        try:
            client.create_experiment(
                store.experiment, artifact_location=_build_artifact_location(store)
            )
        except MlflowException:
            # another process may have created it at the same time
            if client.get_experiment_by_name(store.experiment) is None:
                raise
        experiment = client.get_experiment_by_name(store.experiment)
        assert experiment is not None
    _refuse_deleted(experiment)
    _share_table_view(client, experiment)
    return experiment.experiment_id


def _refuse_deleted(experiment: "Experiment") -> None:
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            "is in the UI's bin: restore it there (mlflow experiments restore --experiment-id "
            f"{experiment.experiment_id}), or use another name",
            key="tracking.experiment",
            value=experiment.name,
            colon=False,
        )


def _share_table_view(client: MlflowClient, experiment: "Experiment") -> None:
    """Have the table of runs open with their results in columns."""
    view = build_table_view()
    if experiment.tags.get(VIEW_TAG) != view:
        # a server may let others alone write an experiment's tags, and the runs are not hurt
        with suppress(MlflowException):
            client.set_experiment_tag(experiment.experiment_id, VIEW_TAG, view)


def _build_artifact_location(store: "Store") -> str | None:
    """Return an absolute folder, since MLflow resolves a relative one against the working folder.

    None where a server decides.
    """
    if store.tracking_uri.startswith("http"):
        return None
    name = re.sub(r"[^\w.-]+", "_", store.experiment)
    # a name such as `..` would be the folder above
    return str(store.artifacts_folder / re.sub(r"^\.+", "_", name))


def store_error(store: "Store", error: MlflowException) -> UserError:
    """Return the message to the user about a store that MLflow cannot open."""
    return UserError(
        f"cannot be opened: {' '.join(error.message.split())}",
        key="tracking.uri",
        value=store.tracking_uri,
        colon=False,
    )
