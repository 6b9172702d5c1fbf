"""MLflow's UI as a child process, which starts within seconds and ends with its parent."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from src.core.processes import end_process_group
from src.core.user_errors import UserError
from src.tracking.database import prepare_database, read_experiment_id
from src.tracking.ui_pages import VIEW_TAG, build_table_view, format_ui_link

if TYPE_CHECKING:
    from src.tracking.store import Store

_START_SECONDS = 60.0
_GRACE_SECONDS = 3.0


@contextmanager
def serve_ui(store: "Store", port: int) -> "Iterator[subprocess.Popen[bytes]]":
    """Start the UI of a SQLite store at `http://127.0.0.1:PORT`; leaving ends all its processes."""
    command = [sys.executable, "-m", "mlflow", "ui", "--workers=1"]
    command += ["--host=127.0.0.1", f"--port={port}", f"--backend-store-uri={store.tracking_uri}"]
    command += [f"--default-artifact-root={store.artifacts_folder}"]
    binaries = str(Path(sys.executable).parent)
    environment = os.environ | {
        # its job runner and a worker for each core take half a minute and 2 GB to start, for
        # features that we do not use
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # MLflow starts `uvicorn` by its name
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    with open(ui_log_path(store), "wb") as log:
        server = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield server
    finally:
        # the group: MLflow's own children outlive a signal that is sent to it alone
        end_process_group(server, grace_seconds=_GRACE_SECONDS)


def resolve_runs_page(store: "Store") -> str:
    """Return the path of the experiment's page, relative to the UI's address.

    A missing SQLite file or experiment is created, and so is the view of the table.
    """
    assert store.sqlite_file is not None
    prepare_database(store.sqlite_file, store.artifacts_folder)
    view = (VIEW_TAG, build_table_view())
    experiment_id = read_experiment_id(store.sqlite_file, store.experiment, view)
    if experiment_id is not None:
        return format_ui_link(experiment_id)
    # imports MLflow, which takes seconds
    return store.open().build_ui_link()


def wait_until_healthy(server: "subprocess.Popen[bytes]", store: "Store", port: int) -> None:
    """Return once the UI answers. Raises UserError with the end of its log if it does not."""
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    log = ui_log_path(store)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
    raise UserError("\n".join([f"MLflow's UI did not come up; the end of {log}:", *lines]))


def find_free_port(wanted: int) -> int:
    """Return `wanted`, or the next port that no program uses."""
    for port in range(wanted, min(wanted + 100, 65536)):
        with socket.socket() as probe:
            # as the server does
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except PermissionError as error:
                raise UserError(
                    f"port={port} needs more rights than this user has: expected 1024 or more"
                ) from error
            except OSError:
                continue
            return port
    raise UserError(f"port={wanted}: this port and the 99 after it are taken")


def ui_log_path(store: "Store") -> Path:
    return store.runs_folder / "ui.log"
