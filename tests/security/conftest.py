"""Exploits that leave a trace where they run."""

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


class Exploit:
    """Unpickling one makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Path]:
    """What must not exist at the end of the test; that the exploit works is shown first."""
    proof = tmp_path / "proof"
    pickle.loads(pickle.dumps(Exploit(proof)))
    assert proof.exists()
    place = tmp_path / "ran"
    yield place
    assert not place.exists()


@pytest.fixture
def exploit(trace: Path) -> Exploit:
    return Exploit(trace)
