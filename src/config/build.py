"""Objects out of nodes: each `_target_` called with the rest of its node as keyword arguments."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from src.terms.fault import Fault


def build(node: Mapping[str, Any], *, origin: Path | None = None) -> Any:
    """The object that a node describes; nothing below it sees a config object.

    Args:
        origin: the Hugging Face folder that `run:<id>` stands for, wherever it is written in the node.

    Raises:
        Fault: whatever a constructor refuses.
    """
    try:
        return instantiate(_replaced(node, origin), _convert_="all")
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, Fault):
            cause = cause.__cause__ or cause.__context__
        raise (cause or Fault(str(error))) from None


def _replaced(value: Any, origin: Path | None) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(each, origin) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, origin) for each in value]
    if isinstance(value, str) and value.startswith("run:") and origin is not None:
        return str(origin)
    return value
