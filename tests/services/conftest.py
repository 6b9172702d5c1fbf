"""Real servers for the tests of this folder: PostgreSQL, an object storage, an MLflow server."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.object_storage import BUCKET, ObjectStorage
from benchmarks.postgres import PostgresServer, find_postgres
from benchmarks.tracking_server import Server

NEWER_MLFLOW = "3.18.0"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if find_postgres() is None:
        pytest.skip("PostgreSQL is not installed (initdb, pg_ctl)")
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    pytest.importorskip("moto")
    server = ObjectStorage(tmp_path_factory.mktemp("storage"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def tracking_server(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, storage: ObjectStorage
) -> Iterator[Server]:
    """MLflow on PostgreSQL, with its artifacts in the object storage."""
    folder: Path = tmp_path_factory.mktemp("mlflow")
    server = Server(folder, postgres.create_database("mlflow"), f"s3://{BUCKET}")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def newer_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the version of MLflow that came after the one that is pinned."""
    folder = tmp_path_factory.mktemp("newer-mlflow")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    done = subprocess.run(
        [*command, str(folder), f"mlflow=={NEWER_MLFLOW}"], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"mlflow {NEWER_MLFLOW} cannot be had here")
    return folder
