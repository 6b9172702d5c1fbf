"""A ready store for every test, copied from the blank one."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from src.tracking.store import Store


@pytest.fixture
def make_store(blank_database: Path) -> Callable[..., Store]:
    """A store below any folder, with a ready database."""

    def make(root: Path, **options: object) -> Store:
        runs = root / "mlruns"
        runs.mkdir(parents=True)
        shutil.copy(blank_database, runs / "mlflow.db")
        return Store(root=str(root), **({"system_metrics": False, "flush_seconds": 0.05} | options))

    return make


@pytest.fixture
def store(make_store: Callable[..., Store], tmp_path: Path) -> Store:
    return make_store(tmp_path)


@pytest.fixture(autouse=True)
def _tracking_uri_stays() -> Iterator[None]:
    """Opening a store sets MLflow's global address, which other tests must not inherit."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before
