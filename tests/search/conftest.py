"""A sweep's loop to be looked at from outside, and a project in which one is typed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.search.run.devices import DeviceSlot
from src.search.run.find_sweep import SweepRequest
from src.search.run.scheduler import TrialScheduler
from src.search.run.sweep_context import SweepContext
from src.search.run.worker_pool import ProcessExit
from src.search.samplers import Grid
from src.search.search_config import Search
from src.search.space import parse_space
from src.search.sweep_study import SweepStorage, SweepStudy
from tests.search.loop import Live, Signals, Store, Trials, Workers
from tests.search.sweep_project import Project


@pytest.fixture(scope="module")
def make_project(
    tmp_path_factory: pytest.TempPathFactory, blank_database: Path
) -> Callable[[], Project]:
    def make() -> Project:
        root = tmp_path_factory.mktemp("sweeps")
        (root / "mlruns").mkdir()
        shutil.copy(blank_database, root / "mlruns" / "mlflow.db")
        return Project(root)

    return make


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple[TrialScheduler, Workers, SweepStudy, Live]]:
    """A sweep over seeds, and what ends its trials."""

    def make(
        seeds: str,
        act: Callable[[SweepStudy, int], int | ProcessExit | None],
        *,
        jobs: int = 1,
        signals: Signals | None = None,
        **node: Any,
    ) -> tuple[TrialScheduler, Workers, SweepStudy, Live]:
        space, _ = parse_space([f"seed={seeds}"], {})
        search = Search(sampler=Grid(), monitor="val/loss", mode="min", space={}, **node)
        asked = SweepRequest(
            [], space.to_plain_dict(), {"sampler": {}, "pruner": None}, "", lambda *_: {}
        )
        storage = SweepStorage(None, tmp_path)
        storage.create_study("a" * 32, ["min"], asked.stored_attributes)
        study = storage.open_study("a" * 32, space=space, sampler=search.sampler)
        work = SweepContext(asked, search, space, Trials(), Store(), storage, study, tmp_path)  # type: ignore[arg-type]
        workers, live = Workers(study, act), Live()
        slots = [DeviceSlot(environment={"SLOT": str(number)}, threads=2) for number in range(jobs)]
        working = TrialScheduler(
            work,
            workers=workers,  # type: ignore[arg-type]
            slots=slots,
            display=live,  # type: ignore[arg-type]
            signals=lambda: signals or Signals(),  # type: ignore[arg-type,return-value]
            get_reporter=lambda: None,
        )
        return working, workers, study, live

    return make
