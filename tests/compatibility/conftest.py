"""What the tests of old projects share."""

import json
from typing import Any

import pytest

from tests.compatibility.project import FIXTURES


@pytest.fixture(scope="session")
def expected() -> dict[str, Any]:
    """What d1ababe itself goes on to make of the fixture."""
    found: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text())
    return found
