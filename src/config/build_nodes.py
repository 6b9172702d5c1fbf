"""Reads the schema of a config node, which is the signature of its `_target_`, and builds objects.

Hydra's `instantiate` is not used for this. It resolves interpolations a second time, it knows keys
that change what a target means (`_partial_`, `_args_`), and through a module it reaches whatever
that module has imported.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from src.config.allowed_targets import import_target, library_kinds
from src.core.user_errors import UserError

# The class of ours that stands for a library's class in a config, by the library's base class. It
# takes the class and its arguments, and its method `build` builds the object when it is needed.
_STAND_INS = {
    "lightning.pytorch.callbacks.callback.Callback": "src.training.callbacks.LibraryCallback",
    "torch.optim.optimizer.Optimizer": "src.model.optim.LibraryOptimizer",
    "torchmetrics.metric.Metric": "src.model.metric_config.LibraryMetric",
}
_STAND_IN_ARGUMENTS = ("cls", "arguments")


class Parameter(NamedTuple):
    """The annotation of a key, and whether the node must have the key."""

    annotation: Any
    required: bool


@dataclass(frozen=True)
class Schema:
    """The keys that a node may have.

    Attributes:
        parameters: each key by its name.
        open: True if the node may have others as well, since its class takes `**kwargs`.
    """

    parameters: Mapping[str, Parameter]
    open: bool = False


def read_schema(function: Callable[..., Any]) -> Schema:
    """The schema that follows from the signature of a class or a function."""
    try:
        signature = inspect.signature(function, eval_str=True)
    # An annotation in quotes may name what is imported for type checkers alone.
    except NameError:
        signature = inspect.signature(function)
    parameters = {}
    for name, parameter in signature.parameters.items():
        unknown = parameter.annotation is inspect.Parameter.empty or isinstance(
            parameter.annotation, str
        )
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            parameters[name] = Parameter(
                Any if unknown else parameter.annotation, parameter.default is parameter.empty
            )
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    return Schema(parameters, open=inspect.Parameter.VAR_KEYWORD in kinds)


def read_target_schema(cls: Callable[..., Any]) -> Schema:
    """The schema of a node whose `_target_` is `cls`."""
    schema, stand_in = read_schema(cls), _find_stand_in(cls)
    if stand_in is None:
        return schema
    parameters = {**schema.parameters, **read_schema(stand_in).parameters}
    for name in (*_STAND_IN_ARGUMENTS, *stand_in.provides):
        parameters.pop(name, None)
    return Schema(parameters, schema.open)


def build_node(node: Mapping[str, Any]) -> Any:
    """Build the object of a config node, innermost nodes first. Constructors get plain values.

    Raises:
        UserError: a constructor refuses its arguments, or a config must not name the target.
    """
    arguments = {key: _build_value(value) for key, value in node.items() if key != "_target_"}
    return build_object(node["_target_"], import_target(node["_target_"]), arguments)


def build_object(target: str, cls: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Build the object of a node whose inner nodes are built already.

    Raises:
        UserError: the constructor refuses its arguments.
    """
    for name in arguments:
        if name.startswith("_"):
            raise UserError(f"{target}: there is no argument '{name}'")
    stand_in = _find_stand_in(cls)
    try:
        if stand_in is None:
            return cls(**arguments)
        stand_in_arguments = {
            key: arguments[key] for key in read_schema(stand_in).parameters if key in arguments
        }
        cls_arguments = {
            key: value for key, value in arguments.items() if key not in stand_in_arguments
        }
        return stand_in(cls=cls, arguments=cls_arguments, **stand_in_arguments)
    except UserError:
        raise
    # A class that is not ours may raise any exception for an argument that it refuses.
    except Exception as error:
        if target.startswith("src.") and not isinstance(error, TypeError | ValueError):
            raise
        raise UserError(f"{target}: {error}") from error


def _build_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build_node(value)
        return {key: _build_value(inner) for key, inner in value.items()}
    return [_build_value(inner) for inner in value] if isinstance(value, list) else value


def _find_stand_in(cls: Callable[..., Any]) -> Any:
    """The class of ours that stands for a library's class, or for one that inherits from it; None
    if `cls` has a `build` of its own, or needs no such class.
    """
    if hasattr(cls, "build"):
        return None
    names = [_STAND_INS[kind] for kind in library_kinds(cls) if kind in _STAND_INS]
    return import_target(names[0]) if names else None
