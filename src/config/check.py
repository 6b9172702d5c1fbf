"""Every mistake of a config, found at once and before torch is imported."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from importlib.abc import MetaPathFinder
from typing import Any

from src.config.signature import Signature, signature
from src.terms.bounds import problem
from src.terms.fault import Fault, Faults, suggestion

_HEAVY = {"torch", "lightning", "transformers", "datasets", "mlflow", "torchmetrics", "pandas", "matplotlib"}


def check(config: Mapping[str, Any], task: Signature) -> None:
    """Raise `Faults` naming every node of `config` that its target would refuse.

    Args:
        config: the composed config as plain Python, `_target_` nodes included.
        task: the signature of the task function, schema of the top level.
    """
    faults = list(_names("", config, task))
    for path, node in _nodes("", config):
        faults += _node_faults(path, node)
    if faults:
        raise Faults(faults)


def _nodes(path: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with a `_target_`, innermost first."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _nodes(f"{path}.{key}" if path else str(key), each)
        if "_target_" in value:
            yield path, value
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _nodes(f"{path}[{place}]", each)


def _node_faults(path: str, node: Mapping[str, Any]) -> list[Fault]:
    target = node["_target_"]
    if not isinstance(target, str):
        return [Fault(f"{path}._target_: expected the dotted name of a class, found {target!r}")]
    try:
        schema = signature(target)
    except Fault as fault:
        return [Fault(f"{path}._target_: {fault}")]
    if schema is None:
        return []
    return list(_names(path, node, schema)) or _rules(path, node)


def _names(path: str, node: Mapping[str, Any], schema: Signature) -> Iterator[Fault]:
    """Unknown names, missing names, values that the annotation excludes."""
    at = f"{path}." if path else ""
    given = {str(key): value for key, value in node.items() if not str(key).startswith("_")}
    for name, value in given.items():
        if name not in schema.parameters:
            if not schema.open:
                yield Fault(f"{at}{name}: there is no such key; {suggestion(name, schema.parameters)}")
        elif value == "???":
            yield Fault(f"{at}{name}: must be given, as {at}{name}=VALUE")
        elif not isinstance(value, Mapping) or "_target_" not in value:
            found = problem(schema.parameters[name].annotation, value)
            if found:
                yield Fault(f"{at}{name}: {found}")
    for name, parameter in schema.parameters.items():
        if parameter.required and name not in given:
            yield Fault(f"{at}{name}: must be given, as {at}{name}=VALUE")


class _Light(MetaPathFinder):
    """Refuses heavy imports while it is installed, so that a class that needs none can be built in milliseconds."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in _HEAVY:
            raise ImportError(f"{name} is not imported while a config is checked")


def _rules(path: str, node: Mapping[str, Any]) -> list[Fault]:
    """What the constructor itself refuses: the rules between its arguments. Skipped where it needs a heavy library."""
    target = node["_target_"]
    inner = {key: value for key, value in node.items() if key != "_target_"}
    if not target.startswith("src.") or any(isinstance(v, Mapping) and "_target_" in v for v in inner.values()):
        return []
    module, _, name = target.rpartition(".")
    if "torch" in sys.modules and module not in sys.modules:
        return []
    guard = _Light()
    sys.meta_path.insert(0, guard)
    try:
        build = getattr(importlib.import_module(module), name)
    except ImportError:
        return []
    finally:
        sys.meta_path.remove(guard)
    try:
        build(**inner)
    except Faults as faults:
        return [Fault(f"{path}: {each}") for each in faults.faults]
    except Fault as fault:
        return [Fault(f"{path}: {fault}")]
    return []
