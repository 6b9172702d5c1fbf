"""A ready store for every test, copied from the blank one."""

import shutil
from collections.abc import Callable
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
