"""Where runs are kept, as the config says it. Importing this file is cheap: MLflow is imported on opening."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.terms.bounds import NonNegative, checked
from src.terms.fault import Fault, suggestion
from src.terms.startup import importing
from src.tracking.redaction import hidden

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from src.tracking.lookup import RunInfo
    from src.tracking.record import RunRecord
    from src.tracking.session import Session

_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")


@checked
@dataclass(frozen=True, kw_only=True)
class Store:
    """A place for runs: one SQLite file in `mlruns/`, or a server.

    `uri` None means the SQLite file; `root` is the project's folder, absolute. Metrics are passed on to the store every
    `flush_seconds`. `offline` keeps runs in `mlruns/outbox` and asks no store; `python -m src.sync` sends them to one.
    """

    root: str
    uri: str | None = None
    experiment: str = "palimpsest"
    system_metrics: bool = True
    flush_seconds: NonNegative = 2.0
    offline: bool = False

    @property
    def runs_folder(self) -> Path:
        """Everything that runs leave on this machine: the database, artifacts, checkpoints, the outbox."""
        return Path(self.root) / "mlruns"

    @property
    def artifacts(self) -> Path:
        """Absolute and below the project, never below the folder somebody happened to start in."""
        return self.runs_folder / "artifacts"

    @property
    def database(self) -> Path | None:
        """The SQLite file, or None where a server keeps the runs. A relative file is relative to the project."""
        if self.uri is None:
            return self.runs_folder / "mlflow.db"
        if self.uri.startswith("sqlite:///"):
            return Path(self.root) / self.uri.removeprefix("sqlite:///")
        return None

    @property
    def address(self) -> str:
        """The tracking URI that MLflow is given."""
        return f"sqlite:///{self.database}" if self.database else str(self.uri)

    def check(self) -> None:
        """What can be known without opening anything. Writes nothing."""
        if not os.path.isabs(self.root):
            raise Fault(f"tracking.root={self.root}: expected the project's absolute folder")
        if not self.experiment.strip():
            raise Fault("tracking.experiment is empty: expected the name under which the UI lists the runs")
        self._check_address()
        if self.offline and self.uri is not None:
            raise Fault(f"tracking.uri={hidden(self.uri)}: a run kept offline has no store (tracking.offline=true)")
        place = self.database.parent if self.database else self.runs_folder
        standing = next(folder for folder in (place, *place.parents) if folder.exists())
        if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
            raise Fault(f"runs cannot be kept in {place}: {standing} is not a folder that this user may write to")

    def _check_address(self) -> None:
        if self.uri is None:
            return
        expected = "expected null (a SQLite file in mlruns/), sqlite:///FILE, postgresql://... or http(s)://..."
        match = re.match(r"([a-z][a-z0-9]*)(\+\w+)?://", self.uri)
        if match is None or match[1] == "file":
            raise Fault(f"tracking.uri={hidden(self.uri)} is not the address of a store: {expected}")
        if match[1] not in _SCHEMES:
            hint = suggestion(match[1], _SCHEMES)
            raise Fault(f"tracking.uri={hidden(self.uri)} begins with an unknown '{match[1]}': {hint}; {expected}")
        if match[1] == "sqlite" and not re.match("sqlite:///+[^/]", self.uri):
            raise Fault(f"tracking.uri={self.uri} names no file: expected sqlite:///FILE")

    def open(self) -> None:
        """Make the store ready: created where it is missing, mended where the project was moved.

        Also makes it MLflow's own default, so that no call in this process can open a second, empty database.
        Raises Fault where the store cannot be reached or read.
        """
        self.session()

    def session(self) -> "Session":
        with importing():
            from src.tracking.session import session

        return session(self)

    def client(self) -> "MlflowClient":
        return self.session().client

    def close_vanished(self) -> None:
        """KILLED, or FAILED, for every run whose process is gone; also done whenever the store is opened."""
        from src.tracking.vanished import close_vanished

        session = self.session()
        close_vanished(session.client, session.experiment_id, self.runs_folder)

    def fail(self, run_id: str, reason: str) -> None:
        """FAILED for a run whose process has ended without a word, where whoever had started it knows why."""
        self.client().set_tag(run_id, "failure.reason", hidden(reason))
        self.client().set_terminated(run_id, "FAILED")

    def tag(self, run_id: str, key: str, value: str) -> None:
        """Write a tag of a run that another process records, or that has ended."""
        self.client().set_tag(run_id, key, value)

    def find(self, run_id: str, *, key: str = "run_id") -> "RunInfo":
        """The run with this id, or with the only id that begins so (6 digits or more). `key` is named in a Fault."""
        self._must_stand(run_id, key)
        from src.tracking.lookup import find

        return find(self.session(), run_id, key)

    def _must_stand(self, run_id: str, key: str) -> None:
        """A question about a run must not create the store that it is asked of."""
        if not self.offline and self.database is not None and not self.database.exists():
            raise Fault(f"{key}={run_id!r}: there is no such run; no run has been kept yet in {self.database}")

    def runs(self, where: str = "", *, limit: int = 1000) -> list["RunInfo"]:
        """The experiment's runs, newest first; `where` in MLflow's words: "tags.kind = 'pretrain'"."""
        from src.tracking.lookup import runs

        return runs(self.session(), where, limit)

    def model_folder(self, run_id: str, *, key: str = "init_from") -> Path:
        """The Hugging Face folder that a run has left, fetched first where a server keeps it."""
        self._must_stand(run_id, key)
        from src.tracking.lookup import model_folder

        return model_folder(self.session(), run_id, key)

    def config(self, run_id: str, *, key: str = "resume") -> str:
        """The text of the `config.yaml` that a run was begun with."""
        self._must_stand(run_id, key)
        from src.tracking.lookup import config

        return config(self.session(), run_id, key)

    def fetch(self, run_id: str, artifact: str, folder: Path) -> bool:
        """Have the files of a run's artifact folder in `folder`, each whole or absent; False where it holds none."""
        from src.tracking.lookup import fetch

        return fetch(self.session(), run_id, artifact, folder)

    def record(
        self,
        *,
        name: str,
        kind: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
        config_yaml: str = "",
        parent: str | None = None,
        init_from: str | None = None,
        forked_from: str | None = None,
        resume: "RunInfo | None" = None,
    ) -> "RunRecord":
        """A run about to be tracked: it exists from `with` on. `parent`, `init_from` and `forked_from` are ids of runs.

        With `resume` that earlier run itself goes on: its name, parameters and config stay as they are, its metrics go
        on after the last steps that the store has of them.
        """
        from src.tracking.record import RunRecord

        return RunRecord(
            store=self,
            name=name,
            kind=kind,
            params=params,
            tags=tags or {},
            config_yaml=config_yaml,
            parent=parent,
            init_from=init_from,
            forked_from=forked_from,
            resume=resume,
        )
