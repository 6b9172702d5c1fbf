"""Signatures, read from source text.

The signature of a `_target_` is the schema of its YAML node. Importing the target to look at its signature would cost
seconds (torch, lightning), so it is parsed instead: names, defaults and annotations are all in the text.
"""

import ast
import importlib.util
import os
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from src.terms import bounds
from src.terms.fault import Fault, suggestion

ROOMS = ("src.", "lightning.", "torch.", "torchmetrics.", "transformers.")  # a config builds from these alone,
# and from what a person adds. Read once, on import: Hydra lets config files set variables of the environment later.
ADDED = tuple(f"{each}." for each in re.findall(r"[\w.]*\w", os.environ.get("PALIMPSEST_ALLOWED_TARGETS", "")))


@dataclass(frozen=True)
class Parameter:
    annotation: Any
    required: bool


@dataclass(frozen=True)
class Signature:
    parameters: dict[str, Parameter]
    open: bool  # takes **kwargs: unknown names cannot be judged


class _Vocabulary(dict[str, Any]):
    """Names an annotation of a module may use; a name of another library means that anything is accepted."""

    def __init__(self, module: str) -> None:
        super().__init__(_NAMES)
        self.module = module

    def __missing__(self, name: str) -> Any:
        found = definition(self.module, name) if self.module.startswith("src.") else None
        if found is not None and isinstance(found[1], ast.Assign):  # Task = Literal["masked_lm", ...]
            return _evaluated(found[1].value, found[0])
        return _Anything


class _AnythingMeta(type):
    """Swallows subscripts and attributes, so that `nn.Module` or `Metric[int]` evaluate without their library."""

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__


class _Anything(metaclass=_AnythingMeta):
    pass


_BUILTIN = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict, "tuple": tuple}
_NAMES = {
    **_BUILTIN,
    **{name: getattr(typing, name) for name in ("Annotated", "Literal", "Union", "Optional", "Any")},
    **{name: value for name, value in vars(bounds).items() if not name.startswith("_")},
    "Mapping": Mapping,
    "Sequence": Sequence,
    "typing": typing,
}


def _annotation(node: ast.expr | None, module: str) -> Any:
    if node is None:
        return Any
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    found = _evaluated(node, module)
    return Any if found is _Anything else found


def _evaluated(node: ast.expr, module: str) -> Any:
    return eval(compile(ast.Expression(node), "<annotation>", "eval"), {"__builtins__": {}}, _Vocabulary(module))


@cache
def _module_file(module: str) -> Path | None:
    """The source file of a module, without importing its packages (`find_spec` of a dotted name would)."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return Path(spec.origin) if spec and spec.origin and not rest else None
    place = Path(spec.submodule_search_locations[0]).joinpath(*rest)
    for candidate in (place / "__init__.py", place.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def definition(module: str, name: str, depth: int = 0) -> tuple[str, ast.stmt] | None:
    """Where `name` is defined, following re-exports; None where only importing could tell."""
    file = _module_file(module)
    if file is None or depth > 8:
        return None
    for statement in _tree(file).body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name == name:
            return module, statement
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", None) == name:
            return module, statement
        if not isinstance(statement, ast.ImportFrom):
            continue
        for alias in statement.names:
            if (alias.asname or alias.name) != name:
                continue
            package = module if file.name == "__init__.py" else module.rpartition(".")[0]
            for _ in range(statement.level - 1):
                package = package.rpartition(".")[0]
            origin = f"{package}.{statement.module or ''}".rstrip(".") if statement.level else statement.module or ""
            return definition(origin, alias.name, depth + 1)
    return None


def _from_arguments(arguments: ast.arguments, module: str, *, method: bool) -> Signature:
    positional = arguments.posonlyargs + arguments.args
    needed = len(positional) - len(arguments.defaults)
    parameters = {
        each.arg: Parameter(_annotation(each.annotation, module), required=place < needed)
        for place, each in enumerate(positional)
    }
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parameters[each.arg] = Parameter(_annotation(each.annotation, module), required=default is None)
    if method:
        parameters.pop(positional[0].arg)
    return Signature(parameters, open=arguments.kwarg is not None)


def _from_class(module: str, node: ast.ClassDef) -> Signature | None:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _from_arguments(statement.args, module, method=True)
    if any("dataclass" in ast.dump(decorator) for decorator in node.decorator_list):
        fields = [each for each in node.body if isinstance(each, ast.AnnAssign) and "ClassVar" not in ast.dump(each)]
        return Signature(
            {
                ast.unparse(each.target): Parameter(_annotation(each.annotation, module), each.value is None)
                for each in fields
            },
            open=False,
        )
    for base in node.bases:
        found = definition(module, ast.unparse(base)) if isinstance(base, ast.Name) else None
        if found and isinstance(found[1], ast.ClassDef):
            return _from_class(found[0], found[1])
    return None


@cache
def signature(target: str) -> Signature | None:
    """The signature of a dotted target; None where the text does not tell. Raises Fault where there is no target."""
    module, _, name = target.rpartition(".")
    if not (target.startswith(ROOMS) or f"{target}.".startswith(ADDED)):
        raise Fault(f"'{target}' is not built: a config builds from {', '.join(ROOMS)} alone")
    found = definition(module, name)
    if found is None:
        file = _module_file(module)
        if file is None:
            raise Fault(f"there is no module '{module}'")
        names = [each.name for each in _tree(file).body if isinstance(each, ast.ClassDef | ast.FunctionDef)]
        if target.startswith("src."):
            raise Fault(f"module '{module}' has no '{name}'; {suggestion(name, names)}")
        return None
    origin, node = found
    if isinstance(node, ast.ClassDef):
        return _from_class(origin, node)
    if isinstance(node, ast.Assign) and target.startswith("src."):
        raise Fault(f"'{target}' is neither a class nor a function")
    return _from_arguments(node.args, origin, method=False) if isinstance(node, ast.FunctionDef) else None


@cache
def constant(target: str, name: str) -> Any:
    """A constant in the body of a class of `src`, given by the dotted name of that class; None where there is none."""
    module, _, owner = target.rpartition(".")
    found = definition(module, owner) if module.startswith("src.") else None
    for statement in found[1].body if found and isinstance(found[1], ast.ClassDef) else []:
        if (
            isinstance(statement, ast.AnnAssign)
            and ast.unparse(statement.target) == name
            and statement.value is not None
        ):
            return ast.literal_eval(statement.value)
    return None


@cache
def has_rules(target: str) -> bool:
    """Whether constructing a class or calling a function of `src` may refuse what its signature allows.

    A dataclass without `__post_init__` cannot, so that nothing needs to be imported to ask it.
    """
    module, _, name = target.rpartition(".")
    found = definition(module, name) if target.startswith("src.") else None
    if found is None or not isinstance(found[1], ast.ClassDef):
        return found is not None
    own = {each.name for each in found[1].body if isinstance(each, ast.FunctionDef)}
    return bool(found[1].bases) or bool(own & {"__init__", "__new__", "__post_init__"})


def task_signature() -> Signature:
    """The schema of a config's top level: the task function `src.run.run`."""
    found = signature("src.run.run")
    assert found is not None
    return found
