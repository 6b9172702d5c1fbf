"""Every mistake of a config, found at once and before torch is imported."""

import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib.abc import MetaPathFinder
from typing import Any

from src.config.choices import choices, groups
from src.config.nearest import required
from src.config.rules import rules
from src.config.signature import Signature, has_rules, signature
from src.config.targets import refuse
from src.terms.bounds import problem
from src.terms.fault import Fault, Faults, suggestion

BUILT = ("data", "model", "trainer", "tracking", "search")  # each an object
OPTIONAL = ("search/pruner",)  # groups that may be null
_HEAVY = {"torch", "lightning", "transformers", "datasets", "mlflow", "torchmetrics", "pandas", "matplotlib"}


def check(config: Mapping[str, Any], task: Signature) -> None:
    """Raise `Faults` naming everything in `config` that its targets would refuse, and what does not go together.

    Args:
        config: the composed config as plain Python, `_target_` nodes included; a `Fault` in place of a value counts.
        task: the signature of the task function, schema of the top level.
    """
    faults = [*_names("", config, task), *_unresolved("", config)]
    for name, value in config.items():
        if name in BUILT and isinstance(value, Mapping) and "_target_" not in value:
            faults.append(Fault(f"{name}: there is no _target_, the class that these keys are for"))
    for path, node in _nodes("", config):
        faults += _node_faults(path, node)
    faults += rules(config)
    if faults:
        raise Faults(dict.fromkeys(map(str, faults)))


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What lies directly in a value, each with its dotted key."""
    if isinstance(value, Mapping):
        yield from ((f"{path}.{key}" if path else str(key), each) for key, each in value.items())
    elif isinstance(value, list):
        yield from ((f"{path}[{place}]", each) for place, each in enumerate(value))


def _unresolved(path: str, value: Any) -> Iterator[Fault]:
    if isinstance(value, Fault) and str(value):
        yield Fault(f"{path}: {value}")
    for key, each in _parts(path, value):
        yield from _unresolved(key, each)


def _nodes(path: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with a `_target_`, innermost first."""
    for key, each in _parts(path, value):
        yield from _nodes(key, each)
    if isinstance(value, Mapping) and "_target_" in value:
        yield path, value


def _node_faults(path: str, node: Mapping[str, Any]) -> list[Fault]:
    target = node["_target_"]
    if not isinstance(target, str):
        return [Fault(f"{path}._target_: expected the dotted name of a class, found {target!r}")]
    try:
        refuse(target)
        schema = signature(target)
    except Fault as fault:
        return [Fault(f"{path}._target_: {fault}")]
    if schema is None:
        schema = Signature({}, open=True)
    return list(_names(path, node, schema)) or _refusal(path, node)


def _names(path: str, node: Mapping[str, Any], schema: Signature) -> Iterator[Fault]:
    """Unknown names, missing names, values that the annotation excludes."""
    at = f"{path}." if path else ""
    given = {str(key): value for key, value in node.items() if key != "_target_"}
    for name, value in given.items():
        group = f"{at}{name}".replace(".", "/")
        if not at and name == "experiment":
            yield Fault(
                "experiment: the file of an experiment begins with '# @package _global_'; without this line its keys "
                "land below 'experiment', where nothing reads them"
            )
        elif name not in schema.parameters:
            if not schema.open or name.startswith("_"):  # Hydra's own words would change what a target means
                known = [*schema.parameters, *([] if at else ["+experiment"])]
                yield Fault(f"{at}{name}: there is no such key; {suggestion(name, known)}")
        elif value == "???":
            yield Fault(f"{at}{name}: must be given, as {at}{name}=VALUE")
        elif isinstance(value, Fault) or (group in OPTIONAL and value is None):
            continue
        elif group in groups() and not isinstance(value, Mapping):
            named = str(value) if value in choices(group) else "|".join(choices(group))
            if "/" in group:
                yield Fault(f"{at}{name}={value}: a choice is written with slashes, as {group}={named}")
            else:
                yield Fault(f"{name}={value}: a file chooses in its defaults, as '- override /{group}: {named}'")
        elif not isinstance(value, Mapping) or "_target_" not in value:
            found = problem(schema.parameters[name].annotation, value)
            if found:
                yield Fault(f"{at}{name}: {found}")
    for name, parameter in schema.parameters.items():
        if parameter.required and name not in given:
            yield Fault(f"{at}{name}: must be given, as {required(f'{at}{name}')}")


class _Light(MetaPathFinder):
    """Refuses heavy imports while it is installed, so that a class that needs none can be built in milliseconds.

    Those of its own thread alone: another one may be importing what it needs.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in _HEAVY and threading.get_ident() == self._thread:
            raise ImportError(f"{name} is not imported while a config is checked")


def _refusal(path: str, node: Mapping[str, Any]) -> list[Fault]:
    """What the constructor itself refuses: the rules between its arguments. Skipped where it needs a heavy library."""
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    if not has_rules(node["_target_"]) or any(_holds_objects(each) for each in arguments.values()):
        return []
    module, _, name = node["_target_"].rpartition(".")
    guard = _Light()
    sys.meta_path.insert(0, guard)
    try:
        build = getattr(importlib.import_module(module), name)
    except ImportError:
        return []
    finally:
        sys.meta_path.remove(guard)
    try:
        build(**arguments)
    except Fault as fault:
        each = fault.faults if isinstance(fault, Faults) else [fault]
        return [Fault(str(found) if str(found).startswith(path) else f"{path}: {found}") for found in each]
    return []


def _holds_objects(value: Any) -> bool:
    """Whether a value is, or has within it, something that must be built or could not be resolved."""
    return isinstance(value, Fault) or next(_nodes("", value), None) is not None
