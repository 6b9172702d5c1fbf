"""Finds all mistakes of a config at once, and before torch is imported.

The schema of a node is the signature of its `_target_`, a light class that checks its own arguments
when it is built. The signature tells which names and values are allowed. Building the object once
checks the rules between its arguments. Nothing heavy is imported for this, except by a class of a
library or of a user's own package.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from src.config.allowed_targets import import_target
from src.config.build_nodes import Schema, build_object, read_target_schema
from src.config.compose import typed_overrides
from src.config.foreign_keys import explain_foreign_key
from src.config.groups import NULLABLE_GROUPS, list_groups, list_options, load_option
from src.config.phases import PHASES_KEY, find_phase_errors
from src.config.rules import find_rule_errors
from src.config.suggestions import format_required_override
from src.config.value_errors import (
    explain_dotted_key,
    explain_value_error,
    explain_value_of_group,
)
from src.core.nested_config import iter_children, iter_nodes
from src.core.user_errors import UserError, UserErrors, format_suggestion, split_errors
from src.core.validation import find_violation

# Keys of the top level that hold the node of one object.
OBJECT_NODES = ("data", "model", "trainer", "report", "tracking", "search")
# Stands for an object that could not be built, because of a mistake that is reported.
_BROKEN = object()
_OWN_CODE = (
    "code of your own has its place in callbacks, model.metrics, model.optim, model.objective and "
    "data.source (docs/own-code.md)"
)


def validate_config(
    config: Mapping[str, Any], task: Schema, typed: Sequence[str] | None = None
) -> None:
    """Check a config against the classes that it names, and its nodes against each other.

    Args:
        config: the composed config as plain Python, `_target_` nodes included; a `UserError` in
            place of a value counts as a mistake.
        task: the schema of the task function, which is that of the top level.
        typed: the overrides that made the config; None: those that Hydra knows.

    Raises:
        UserErrors: everything that is wrong.
    """
    phases = config.get(PHASES_KEY)
    if phases is None:
        errors = _find_config_errors(config, task)
    else:
        errors = find_phase_errors(config, lambda phase: _find_config_errors(phase, task))
    if errors:
        raise UserErrors(_without_echoes(errors, typed_overrides() if typed is None else typed))


def _without_echoes(errors: Sequence[UserError], typed: Sequence[str]) -> list[UserError]:
    """The errors without those of keys that were not typed and hold the value for which a typed key
    of the same name is refused: they take it from there (`data.seed` from `seed`).
    """

    def describe(error: UserError) -> tuple[str, str]:
        return str(error.key).rpartition(".")[2], str(error.found)

    keys = {override.lstrip("+~").partition("=")[0] for override in typed}
    refused = {describe(error) for error in errors if error.key in keys and error.found}
    return [error for error in errors if error.key in keys or describe(error) not in refused]


def _find_config_errors(config: Mapping[str, Any], task: Schema) -> list[UserError]:
    """The errors of a config without phases."""
    errors = [*_find_key_errors("", config, task), *_find_unresolved(config)]
    for name, value in config.items():
        if name in OBJECT_NODES and isinstance(value, Mapping) and "_target_" not in value:
            errors.append(
                UserError("there is no _target_, the class that these keys are for", key=name)
            )
    objects = _check_value("", config, errors)
    errors += _without_known_keys(_find_foreign_objects("", config, objects, task), errors)
    broken_rules = list(find_rule_errors(config))
    # a class may know a rule by itself, as the rules do of nodes that could not be built
    said = {error.problem for error in broken_rules}
    errors = [error for error in errors if not error.problem or error.problem not in said]
    return [*errors, *broken_rules]


def build_checked_node(path: str, node: Mapping[str, Any]) -> Any:
    """The object of one node, whose dotted key is `path`.

    Raises:
        UserErrors: everything that is wrong with the node by itself; messages name its keys.
    """
    errors: list[UserError] = []
    built = _check_value(path, node, errors)
    if errors:
        raise UserErrors(errors)
    return built


def _find_unresolved(config: Mapping[str, Any]) -> list[UserError]:
    """The errors that stand in the place of values which could not be resolved."""
    return [
        value.with_key(key)
        for key, value in iter_nodes(config)
        # what has a text in place of the node that it looks into is reported there
        if isinstance(value, UserError) and str(value) and "is not a container" not in str(value)
    ]


def _check_value(path: str, value: Any, errors: list[UserError]) -> Any:
    """A value with each node in it replaced by its object, or by `_BROKEN` if it has a mistake.

    Adds the mistakes to `errors`, those of the innermost nodes first.
    """
    if isinstance(value, UserError):
        return _BROKEN
    if isinstance(value, list):
        return [_check_value(key, child, errors) for key, child in iter_children(value, path)]
    if not isinstance(value, Mapping):
        return value
    children = iter_children(value, path)
    built = {
        name: _check_value(key, child, errors)
        for name, (key, child) in zip(value, children, strict=True)
    }
    if "_target_" not in value:
        return built
    node_errors, node_object = _check_node(path, value, built)
    errors += node_errors
    return node_object


def _check_node(
    path: str, node: Mapping[str, Any], built: Mapping[str, Any]
) -> tuple[list[UserError], Any]:
    """The mistakes of a node, and its object, which is `_BROKEN` if there are any.

    Args:
        path: the dotted key of the node.
        node: the node as plain values.
        built: the node with its inner nodes built.
    """
    target = node["_target_"]
    if not isinstance(target, str):
        return [
            UserError(
                key=f"{path}._target_",
                expected="the dotted name of a class",
                found=repr(target),
            )
        ], _BROKEN
    try:
        cls = import_target(target)
        schema = read_target_schema(cls)
    except UserError as error:
        return [error.with_key(f"{path}._target_")], _BROKEN
    arguments = {str(name): value for name, value in built.items() if name != "_target_"}
    errors = list(_find_key_errors(path, node, schema))
    errors += _without_known_keys(_find_foreign_objects(path, node, arguments, schema), errors)
    if errors or any(map(_is_broken, arguments.values())):
        return errors, _BROKEN
    try:
        return [], build_object(target, cls, arguments)
    except UserError as error:
        return [part.with_key(path) for part in split_errors(error)], _BROKEN


def _without_known_keys(found: Iterable[UserError], known: Sequence[UserError]) -> list[UserError]:
    """Those of the errors found whose key has no error yet: one is enough for a value."""
    keys = {error.key for error in known}
    return [error for error in found if error.key not in keys]


def _is_broken(value: Any) -> bool:
    """True if a value is, or contains, an object that could not be built."""
    return value is _BROKEN or any(_is_broken(child) for _, child in iter_children(value))


def _list_leftover_keys(path: str, node: Mapping[str, Any], schema: Schema) -> list[str]:
    """The keys that a node has kept from the class that was there before its `_target_` was typed
    for one of the user's or of a library.
    """
    typed = {override.lstrip("+~").partition("=")[0] for override in typed_overrides()}
    if f"{path}._target_" not in typed or schema.open:
        return []
    return [
        str(name)
        for name in node
        if name != "_target_" and name not in schema.parameters and f"{path}.{name}" not in typed
    ]


def _begin_node_anew(path: str, target: str) -> str:
    """The overrides with which a node has the keys of its `_target_` alone."""
    group = path.replace(".", "/")
    for option in list_options(group) if group in list_groups() else ():
        # one that is made for classes of libraries
        if not str(load_option(group, option).get("_target_", "src.")).startswith("src."):
            return f"{group}={option} {path}._target_={target}"
    return f"'~{path}' +{path}._target_={target}"


def _find_key_errors(path: str, node: Mapping[str, Any], schema: Schema) -> Iterator[UserError]:
    """The errors of a node by its signature: unknown names, missing names, and values that an
    annotation excludes.
    """
    prefix = f"{path}." if path else ""
    arguments = {str(key): value for key, value in node.items() if key != "_target_"}
    if left := _list_leftover_keys(path, node, schema):
        target = node["_target_"]
        yield UserError(
            f"{', '.join(left)}: left from the class that was here, unknown to {target}",
            key=path,
            hint=f"{_begin_node_anew(path, target)} begins without them",
        )
        arguments = {name: value for name, value in arguments.items() if name not in left}
    for name, value in arguments.items():
        group = f"{prefix}{name}".replace(".", "/")
        if not prefix and name == "experiment":
            yield UserError(
                "the file of an experiment begins with '# @package _global_'",
                key="experiment",
                hint="without this line its keys land below 'experiment', where nothing reads them",
            )
        elif name not in schema.parameters:
            # Names that begin with `_` are refused even then: those that Hydra knows would change
            # what a target means.
            if not schema.open or name.startswith("_"):
                known = [*schema.parameters, *([] if prefix else ["+experiment"])]
                yield UserError(
                    "there is no such key",
                    key=f"{prefix}{name}",
                    hint=explain_dotted_key(name, value, schema.parameters)
                    or explain_foreign_key(f"{prefix}{name}")
                    or format_suggestion(name, known),
                )
        elif value == "???":
            typed = format_required_override(f"{prefix}{name}")
            yield UserError(f"must be given, as {typed}", key=f"{prefix}{name}")
        elif isinstance(value, UserError) or (group in NULLABLE_GROUPS and value is None):
            continue
        elif group in list_groups() and group != "preset" and not isinstance(value, Mapping):
            yield explain_value_of_group(f"{prefix}{name}", value)
        elif not isinstance(value, Mapping) or "_target_" not in value:
            annotation = schema.parameters[name].annotation
            if error := find_violation(annotation, value, f"{prefix}{name}"):
                yield explain_value_error(error, f"{prefix}{name}", value)
    for name, parameter in schema.parameters.items():
        if parameter.required and name not in arguments:
            is_foreign = not str(node.get("_target_", "src.")).startswith("src.")
            yield UserError(
                f"must be given, as {'+' * is_foreign}"
                + format_required_override(f"{prefix}{name}"),
                key=f"{prefix}{name}",
            )


def _find_foreign_objects(
    path: str, node: Mapping[str, Any], objects: Mapping[str, Any], schema: Schema
) -> Iterator[UserError]:
    """The errors of inner nodes whose object is not of the class that the annotation names. Inner
    nodes are values of `node`, or of a mapping in it.

    Args:
        objects: `node` with its inner nodes built.
    """
    prefix = f"{path}." if path else ""
    for name, value in node.items():
        if name not in schema.parameters:
            continue
        annotation = schema.parameters[name].annotation
        if not isinstance(value, Mapping):
            # a protocol cannot be checked when the object is built
            if getattr(annotation, "_is_protocol", False) and not isinstance(value, UserError):
                yield UserError(
                    key=f"{prefix}{name}", expected="a node with a _target_", found=repr(value)
                )
            continue
        inner_nodes = {f"{prefix}{name}": (value, objects[name])}
        if "_target_" not in value:
            annotation = get_args(annotation)[-1] if get_origin(annotation) is Mapping else Any
            inner_nodes = {
                f"{prefix}{name}.{key}": (value[key], objects[name][key]) for key in value
            }
        is_union = get_origin(annotation) in (Union, UnionType)
        members = get_args(annotation) if is_union else (annotation,)
        classes = [cls for cls in members if isinstance(cls, type) and cls not in (Any, type(None))]
        for key, (inner, built) in inner_nodes.items():
            is_node = isinstance(inner, Mapping) and "_target_" in inner and built is not _BROKEN
            if is_node and classes and not any(_is_instance_of(built, cls) for cls in classes):
                yield UserError(
                    key=key,
                    expected=" or ".join(map(_describe_class, classes)),
                    found=getattr(built, "cls", type(built)).__name__,
                    hint=None if "." in key else _OWN_CODE,
                )


def _is_instance_of(value: Any, cls: type) -> bool:
    """True if an object is an instance of a class. For a protocol, it must also be possible to call
    each of its methods as the protocol declares it.
    """
    if not _is_protocol(cls):
        return isinstance(value, cls)
    if not isinstance(value, cls):
        return False
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        if not name.startswith("_"):
            # The first parameter is `self`.
            parameters = list(inspect.signature(method).parameters.values())[1:]
            keywords = [
                parameter.name
                for parameter in parameters
                if parameter.kind is inspect.Parameter.KEYWORD_ONLY
            ]
            positional = [
                parameter.name
                for parameter in parameters
                if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
            ]
            try:
                signature = inspect.signature(getattr(value, name))
                signature.bind(*positional, **dict.fromkeys(keywords))
            except TypeError:
                return False
    return True


def _is_protocol(cls: type) -> bool:
    return bool(getattr(cls, "_is_protocol", False))


def _describe_class(cls: type) -> str:
    """The name of a class, or what the docstring of a protocol begins with."""
    if not _is_protocol(cls):
        return cls.__name__
    words = " ".join((inspect.getdoc(cls) or "").partition(":")[0].split())
    return words[:1].lower() + words[1:]
