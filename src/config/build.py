"""Objects out of nodes: each `_target_` called with the rest of its node as keyword arguments.

Not Hydra's `instantiate`: that one resolves interpolations a second time, knows words that change what a target means
(`_partial_`, `_args_`), and finds its way through modules to whatever they have imported.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.config.targets import imported
from src.terms.fault import Fault


def build(node: Mapping[str, Any], *, origin: Path | None = None) -> Any:
    """The object that a node describes, what lies in it built first; nothing below it sees a config object.

    Args:
        origin: the Hugging Face folder that `run:<id>` stands for, wherever it is written in the node.

    Raises:
        Fault: whatever a constructor refuses, and a target that a config must not name.
    """
    target = imported(node["_target_"])
    arguments = {key: _built(value, origin) for key, value in node.items() if key != "_target_"}
    for name in arguments:
        if name.startswith("_"):
            raise Fault(f"{node['_target_']}: there is no argument '{name}'")
    try:
        return target(**arguments)
    except Fault:
        raise
    except (TypeError, ValueError) as error:  # what a class of another library raises over its arguments
        raise Fault(f"{node['_target_']}: {error}") from error


def _built(value: Any, origin: Path | None) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(value, origin=origin)
        return {key: _built(each, origin) for key, each in value.items()}
    if isinstance(value, list):
        return [_built(each, origin) for each in value]
    if isinstance(value, str) and value.startswith("run:") and origin is not None:
        return str(origin)
    return value
