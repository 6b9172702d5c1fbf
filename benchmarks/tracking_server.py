"""A real MLflow server, on SQLite or on what is given, to be stopped and killed."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from src.tracking.ui_server import find_free_port


class Server:
    """`mlflow server` below a folder, on a free port; it keeps artifacts too.

    Args:
        database: the address of its database; None: a SQLite file.
        artifacts: where it keeps artifacts, such as s3://BUCKET; None: below the folder.
        workers: how many processes answer.
    """

    def __init__(
        self,
        folder: Path,
        database: str | None = None,
        artifacts: str | None = None,
        workers: int = 1,
    ) -> None:
        from src.tracking.database import prepare_database

        self._folder = folder
        if database is None:
            prepare_database(folder / "server.db", folder / "artifacts")
        self._database = database or f"sqlite:///{folder}/server.db"
        self._artifacts = artifacts or str(folder / "artifacts")
        self._workers = workers
        self.port = find_free_port(5600)
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True, library: Path | None = None) -> None:
        """Start it.

        Args:
            library: a folder with another version of MLflow, that of this environment is passed
                over.
        """
        program = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        places = [f"--backend-store-uri={self._database}", f"--workers={self._workers}"]
        places += ["--artifacts-destination", self._artifacts]
        settings = os.environ | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        settings.pop("MLFLOW_TRACKING_URI", None)
        if library is not None:
            settings["PYTHONPATH"] = str(library)
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                program + places, env=settings, stdout=log, stderr=log, start_new_session=True
            )
        while wait and not self.answers():
            time.sleep(0.1)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """End it with everything it started; SIGKILL leaves it no time for the answers that it is
        giving.
        """
        if self._process is None:
            return
        for each in (signum, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, each)
                self._process.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self._process = None
