"""MLflow's UI as a child process: up in seconds, gone with its parent."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.terms.fault import Fault
from src.tracking import database
from src.tracking.place import Place

_PATIENCE_SECONDS = 60.0


@contextmanager
def serve(store: Place, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The UI on a SQLite store, starting up at `http://127.0.0.1:PORT`; ended with everything it started."""
    program = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", store.address, "--default-artifact-root", str(store.artifacts)]
    binaries = str(Path(sys.executable).parent)
    settings = os.environ | {
        # Its job runner and a worker for each core take half a minute and 2 GB to come up, for features not used here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",  # MLflow starts `uvicorn` by its name
    }
    with open(log_file(store), "wb") as log:
        server = subprocess.Popen(
            program + places, env=settings, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield server
    finally:
        _end(server)


def runs_page(store: Place) -> str:
    """The experiment's page below the UI's address; store and experiment are made where they are missing."""
    assert store.database is not None
    database.prepare(store.database, store.artifacts)
    known = database.experiment_id(store.database, store.experiment)
    if known is not None:
        return f"#/experiments/{known}/runs"
    from src.tracking.session import session  # imports MLflow: seconds that a store with runs in it need not wait

    return session(store).link()


def await_health(server: subprocess.Popen[bytes], store: Place, port: int) -> None:
    """Return once the UI answers; a Fault with its last words if it does not."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    words = log_file(store).read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
    raise Fault("\n".join([f"MLflow's UI did not come up; the end of {log_file(store)}:", *words]))


def free_port(wanted: int) -> int:
    """`wanted`, or the next port that nobody listens on."""
    for port in range(wanted, min(wanted + 100, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            try:
                probe.bind(("127.0.0.1", port))
            except PermissionError as error:
                raise Fault(f"port={port} needs more rights than this user has: expected 1024 or more") from error
            except OSError:
                continue
            return port
    raise Fault(f"port={wanted}: this port and the 99 after it are taken")


def log_file(store: Place) -> Path:
    return store.runs_folder / "ui.log"


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the whole group: MLflow's own children outlive a signal sent to it alone."""
    for signum, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        try:
            os.killpg(server.pid, signum)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and _group_lives(server):
            time.sleep(0.05)


def _group_lives(server: subprocess.Popen[bytes]) -> bool:
    server.poll()  # collects the child, else its group would never end
    try:
        os.killpg(server.pid, 0)
    except ProcessLookupError:
        return False
    return True
