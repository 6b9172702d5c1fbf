"""Docstrings name the arguments that there are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

CONSTRUCTORS = ("__init__", "__new__", "__call__")
SOURCE = Path(__file__).resolve().parents[2] / "src"


def _argument_names(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    """Parameters of a function; of a class its annotated fields and its constructor's."""
    if isinstance(node, ast.FunctionDef):
        arguments = node.args
        extra = [arguments.vararg, arguments.kwarg]
        every = [
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            *filter(None, extra),
        ]
        return {argument.arg for argument in every}
    names: set[str] = set()
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.add(statement.target.id)
        elif isinstance(statement, ast.FunctionDef) and statement.name in CONSTRUCTORS:
            names |= _argument_names(statement)
    return names


def _documented_names() -> Iterator[tuple[str, str, set[str]]]:
    """Where a docstring lists arguments, each name that it lists, and those that there are."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            text = ast.get_docstring(node) or ""
            if "Args:" not in text:
                continue
            section = text.split("Args:")[1].split("\n\n")[0]
            for listed in re.findall(r"^    (\w+(?:, \w+)*):", section, re.MULTILINE):
                for name in listed.split(", "):
                    where = f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}"
                    yield where, name, _argument_names(node)


def test_arguments_in_docstrings_exist() -> None:
    documented = list(_documented_names())
    assert len(documented) > 300
    unknown = [(where, name) for where, name, known in documented if name not in known]
    assert unknown == []
