"""A sweep's loop to be looked at from outside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.search.identity import Asked
from src.search.plan import Search
from src.search.samplers import Grid
from src.search.slots import Slot
from src.search.space import read
from src.search.study import Storage, Study
from src.search.working import Work, Working
from tests.search.loop import Live, Signals, Store, Trials, Workers


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple[Working, Workers, Study, Live]]:
    """A sweep over seeds, and what ends its trials."""

    def make(
        seeds: str,
        act: Callable[[Study, int], int | None],
        *,
        jobs: int = 1,
        signals: Signals | None = None,
        **node: Any,
    ) -> tuple[Working, Workers, Study, Live]:
        space, _ = read([f"seed={seeds}"], {})
        search = Search(sampler=Grid(), monitor="val/loss", mode="min", space={}, **node)
        asked = Asked([], space.plain(), {"sampler": {}, "pruner": None}, "", lambda *_: {})
        storage = Storage(None, tmp_path)
        storage.create("a" * 32, ["min"], asked.about)
        study = storage.open("a" * 32, space=space, sampler=search.sampler)
        study.prepare(retry_failed=search.retry_failed)
        work = Work(asked, search, space, Trials(), Store(), storage, study, tmp_path)  # type: ignore[arg-type]
        workers, live = Workers(study, act), Live()
        slots = [Slot(environment={"SLOT": str(each)}, threads=2) for each in range(jobs)]
        working = Working(
            work,
            workers=workers,  # type: ignore[arg-type]
            slots=slots,
            live=live,  # type: ignore[arg-type]
            signals=lambda: signals or Signals(),  # type: ignore[arg-type,return-value]
            parent=lambda: None,
        )
        return working, workers, study, live

    return make
