"""The config of the store that keeps runs: its addresses, and `open()`.

Importing this file is cheap; MLflow is imported when a store is opened.
"""

import functools
import importlib
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.core.files import PROJECT_ROOT
from src.core.mlflow_environment import (
    DEFAULT_EXPERIMENT,
    EXPERIMENT_NAME,
    TRACKING_URI,
    expand_home,
    keep_mlflow_environment,
    list_unused_variables,
    read_experiment_name,
    read_tracking_uri,
)
from src.core.printing import print_line
from src.core.redaction import redact_text
from src.core.startup import pause_gc
from src.core.user_errors import UserError, format_suggestion
from src.core.validation import NonNegativeFloat, validate_init

if TYPE_CHECKING:
    from src.tracking.client import StoreSession
    from src.tracking.earlier_runs import RunInfo

_URI_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")


@validate_init
@dataclass(frozen=True, kw_only=True)
class Store:
    """A store of runs: one SQLite file in `mlruns/`, or a server.

    Args:
        root: the project's folder, absolute; `~` is the user's home folder.
        uri: the address of the store; None means the SQLite file.
        experiment: the MLflow experiment of the runs.
        system_metrics: record how much of the machine a run uses.
        flush_seconds: how often recorded metrics are sent to the store.
        offline: keep runs in `mlruns/outbox` without asking any store. `python -m src.sync` sends
            them to one later.
    """

    root: str
    uri: str | None = None
    experiment: str = DEFAULT_EXPERIMENT
    system_metrics: bool = True
    flush_seconds: NonNegativeFloat = 2.0
    offline: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", expand_home(self.root))
        object.__setattr__(self, "uri", self.uri and expand_home(self.uri))

    @property
    def runs_folder(self) -> Path:
        """All that runs leave on this machine: database, artifacts, checkpoints, outbox."""
        return Path(self.root) / "mlruns"

    @property
    def artifacts_folder(self) -> Path:
        """Absolute, so that it does not depend on the working folder."""
        return self.runs_folder / "artifacts"

    @property
    def sqlite_file(self) -> Path | None:
        """The SQLite file, a relative one below `root`; None if a server keeps the runs."""
        if self.uri is None:
            return self.runs_folder / "mlflow.db"
        if self.uri.startswith("sqlite:///"):
            return Path(self.root) / self.uri.removeprefix("sqlite:///")
        return None

    @property
    def tracking_uri(self) -> str:
        """The address as MLflow takes it."""
        return f"sqlite:///{self.sqlite_file}" if self.sqlite_file else str(self.uri)

    @property
    def _is_from_environment(self) -> bool:
        return self.uri is not None and self.uri == read_tracking_uri()

    def describe_location(self) -> str:
        """Where runs are kept, and under which experiment, with the variables that say so."""
        place = str(self.sqlite_file or self.uri)
        if self.offline:
            place = f"none, runs wait in {self.runs_folder / 'outbox'}"
        elif self._is_from_environment:
            place += f" ({TRACKING_URI})"
        is_default = self.experiment == DEFAULT_EXPERIMENT
        variable = "" if self.experiment != read_experiment_name() else f" ({EXPERIMENT_NAME})"
        return place if is_default else f"{place}, experiment {self.experiment}{variable}"

    def build_sync_command(self, *run_ids: str) -> str:
        """`python -m src.sync RUN_ID ...`, with `--root` where it would not look here by itself."""
        return shlex.join(["python", "-m", "src.sync", *run_ids, *self._root_option])

    def build_runs_command(self) -> str:
        """`python -m src.runs`, with what it needs to list the runs of this store."""
        is_default = self.uri == read_tracking_uri()
        place = [] if is_default else ["--uri", redact_text(self.uri or "null")]
        return shlex.join(["python", "-m", "src.runs", *self._root_option, *place])

    @property
    def _root_option(self) -> list[str]:
        return [] if Path(self.root) == PROJECT_ROOT else ["--root", self.root]

    def announce_environment(self) -> None:
        """Print to stderr where runs are kept if the environment says so, and which variables of
        MLflow have no effect.
        """
        if "(MLFLOW_" in (location := self.describe_location()):
            print_line(f"store: {location}", to_stderr=True)
        for name in list_unused_variables():
            print_line(f"{name} has no effect here", to_stderr=True)

    def check(self) -> None:
        """Check all that can be known without opening the store; nothing is written.

        Raises:
            UserError: a setting cannot be right.
        """
        if not os.path.isabs(self.root):
            raise UserError(
                key="tracking.root",
                value=self.root,
                expected="the project's absolute folder",
                hint=f"did you mean '{Path(self.root).resolve()}'?",
            )
        if not self.experiment.strip():
            raise UserError(
                "is empty",
                key="tracking.experiment",
                expected="the name under which the UI lists the runs",
                colon=False,
            )
        self._check_uri()
        place = str(self.sqlite_file or self.runs_folder)
        if odd := next((sign for sign in "%?" if sign in place), None):
            # MLflow and SQLAlchemy would decode a %20 or cut a ?, and write to another folder
            raise UserError(
                f"runs cannot be kept in {place}: '{odd}' means something else in the address of "
                "a store",
                key="tracking.root" if self.uri is None else "tracking.uri",
                hint="give the folder a name without it",
            )
        if self.offline and self.uri is not None and not self._is_from_environment:
            raise UserError(
                "a run kept offline has no store (tracking.offline=true)",
                key="tracking.uri",
                value=self.uri,
            )
        folder = self.sqlite_file.parent if self.sqlite_file else self.runs_folder
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise UserError(
                f"runs cannot be kept in {folder}: {existing} is not a folder that this user may "
                "write to"
            )

    def _check_uri(self) -> None:
        if self.uri is None:
            return
        error = functools.partial(
            UserError,
            key="tracking.uri",
            value=self.uri,
            colon=False,
            where=f"{TRACKING_URI}={self.uri}" if self._is_from_environment else None,
        )
        expected = (
            "null (a SQLite file in mlruns/), sqlite:///FILE, postgresql://... or http(s)://..."
        )
        match = re.match(r"([a-z][a-z0-9]*)(\+\w+)?://", self.uri)
        if match is None or match[1] == "file":
            raise error("is not the address of a store", expected=expected)
        scheme = match[1]
        if scheme not in _URI_SCHEMES:
            suggestion = format_suggestion(scheme, _URI_SCHEMES)
            hint = f"expected {expected}"
            raise error(f"begins with an unknown '{scheme}': {suggestion}", hint=hint)
        if scheme == "sqlite" and not re.match("sqlite:///+[^/]", self.uri):
            raise error("names no file", expected="sqlite:///FILE")

    def check_experiment(self) -> None:
        """Check, before the store is only read, that it has the experiment, where one was named.

        Raises:
            UserError: it has no such experiment, which `open` would create.
        """
        is_new = self.sqlite_file is not None and not self.sqlite_file.exists()
        if self.experiment == DEFAULT_EXPERIMENT or is_new:
            return
        with pause_gc():
            from src.tracking.client import check_experiment
        check_experiment(self)

    def import_libraries(self) -> None:
        """Import what `open` imports, which takes a third of the memory of a small run."""
        if self.offline:
            return
        with pause_gc():
            importlib.import_module("src.tracking.client")
            if not self.tracking_uri.startswith("http"):
                importlib.import_module("mlflow.store.tracking.sqlalchemy_store")

    def open(self) -> "StoreSession":
        """Return this process's connection to the store, which the first call opens.

        A missing SQLite file is created, and corrected if the project was moved. What earlier runs
        left is put right: waiting outboxes are delivered, and runs whose processes are gone are
        closed. The store becomes MLflow's default, so that nothing in this process opens a second,
        empty database.

        Raises:
            UserError: the store cannot be reached or read.
        """
        with pause_gc():
            from mlflow import set_tracking_uri
        session = _open_once(self)
        with keep_mlflow_environment():
            set_tracking_uri(self.tracking_uri)
        return session

    def _open_for(self, run_id: str, key: str) -> "StoreSession":
        """Open the store to look a run up; a missing SQLite file is not created for that."""
        if not self.offline and self.sqlite_file is not None and not self.sqlite_file.exists():
            raise UserError(
                f"{key}={run_id!r}: there is no such run; no run has been kept yet in "
                f"{self.sqlite_file}"
            )
        return self.open()

    def find_run(self, run_id: str, *, key: str = "run_id") -> "RunInfo":
        """Return the run with this id, or with the only id that begins so (6 digits or more), or
        the newest of this name; `latest` is the newest run.

        Raises:
            UserError: there is no such run; the message names `key`.
        """
        session = self._open_for(run_id, key)
        from src.tracking.earlier_runs import find_run

        return find_run(session, run_id, key)

    def search_runs(
        self, where: str = "", *, limit: int = 1000, order_by: Sequence[str] = ()
    ) -> "list[RunInfo]":
        """Return the experiment's runs, newest first.

        Args:
            where: a filter in MLflow's syntax, such as "tags.kind = 'pretrain'".
            order_by: orders that come before the time, as in "metrics.`val/loss` ASC"; runs
                without the metric come last.
        """
        session = self.open()
        from src.tracking.earlier_runs import search_runs

        return search_runs(session, where, limit, order_by)

    def fetch_model_folder(self, run_id: str, *, key: str = "init_from") -> Path:
        """Return the Hugging Face folder that a run left, fetched first if a server keeps it."""
        session = self._open_for(run_id, key)
        from src.tracking.earlier_runs import fetch_model_folder

        return fetch_model_folder(session, run_id, key)

    def has_model_folder(self, run_id: str) -> bool:
        """True if a run has left a model."""
        session = self.open()
        from src.tracking.earlier_runs import find_run, has_model_folder

        return has_model_folder(session, find_run(session, run_id, "run_id"))

    def load_config_yaml(self, run_id: str, *, key: str = "resume") -> str:
        """Return the text of the `config.yaml` with which a run began."""
        session = self._open_for(run_id, key)
        from src.tracking.earlier_runs import load_config_yaml

        return load_config_yaml(session, run_id, key)

    def load_artifact_text(self, run_id: str, artifact: str) -> str | None:
        """Return the text of a run's artifact; None if it has none of this name."""
        session = self._open_for(run_id, "RUN_ID")
        from src.tracking.earlier_runs import find_run, load_artifact_text

        return load_artifact_text(session, find_run(session, run_id, "RUN_ID"), artifact, "RUN_ID")

    def read_metric_histories(self, run_id: str) -> dict[str, dict[int, float]]:
        """Return all values of all metrics of a run: by metric, by step."""
        session = self._open_for(run_id, "RUN_ID")
        from src.tracking.earlier_runs import find_run, read_metric_histories

        return read_metric_histories(session, find_run(session, run_id, "RUN_ID"))

    def fetch_artifacts(self, run_id: str, artifact: str, folder: Path) -> bool:
        """Have the files of a run's artifact folder in `folder`; False if the run has none."""
        session = self.open()
        from src.tracking.earlier_runs import fetch_artifacts

        return fetch_artifacts(session, run_id, artifact, folder)

    def register_model(
        self,
        run_id: str,
        folder: Path,
        name: str,
        aliases: Sequence[str],
        *,
        artifact: str = "model",
        key: str = "run",
    ) -> str:
        """Make a run's model a new version of a registered model; returns the version.

        Args:
            folder: the model, with files that the run may not have yet.
            aliases: names that move to the new version.
            artifact: where the run has the model, or gets it.
        """
        session = self._open_for(run_id, key)
        from src.tracking.earlier_runs import find_run
        from src.tracking.registered_model import register_model

        run = find_run(session, run_id, key)
        return register_model(session, run.id, folder, name, aliases, artifact)

    def close_vanished_runs(self) -> None:
        """Set the final status of each of the experiment's runs whose process is gone."""
        session = self.open()
        from src.tracking.liveness import close_vanished_runs

        close_vanished_runs(session.client, session.experiment_id, self.runs_folder)

    def mark_ended(self, run_id: str, status: str, reason: str) -> None:
        """Set the last status of a run after its process ended without reporting and we know why.

        Args:
            status: `FAILED` or `KILLED`.
        """
        client = self.open().client
        client.set_tag(run_id, "failure.reason", redact_text(reason))
        client.set_terminated(run_id, status)


@functools.cache
def _open_once(store: Store) -> "StoreSession":
    with pause_gc():
        from mlflow.exceptions import MlflowException

        from src.tracking.client import connect_to_store, store_error
        from src.tracking.delivery import deliver_pending_outboxes
        from src.tracking.liveness import close_vanished_runs
    session = connect_to_store(store)
    # first, since an outbox may hold the status of a run whose process is gone
    for line in deliver_pending_outboxes(session):
        print_line(f"tracking: {line}")
    try:
        close_vanished_runs(session.client, session.experiment_id, store.runs_folder)
    except MlflowException as error:
        raise store_error(store, error) from error
    return session
