"""JSON as other programs can read it."""

import json
import math
from typing import Any


def format_json(value: Any) -> str:
    """JSON, with null for the numbers that JSON does not have (nan and the infinities)."""
    return json.dumps(_replace_non_finite(value), indent=2, allow_nan=False)


def _replace_non_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replace_non_finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_non_finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
