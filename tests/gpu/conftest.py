"""Tests of what only a GPU shows. They import neither hydra nor mlflow nor datasets, and `make
gpu-check` runs them by themselves.
"""

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a GPU, and is skipped where there is none."""
    for item in items:
        if "tests/gpu/" in item.path.as_posix():
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))


@pytest.fixture
def gpu() -> torch.device:
    return torch.device("cuda", 0)
