"""What our messages propose to type is typed: every key is there, every value composes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.config.groups import list_groups, list_options
from src.config.key_reference import list_key_sections
from src.config.override_errors import find_override_errors
from src.pipeline.run import read_task_schema

SOURCE = Path(__file__).resolve().parents[2] / "src"
_NODES = ("data", "model", "trainer", "callbacks", "tracking", "search")
_NODE = "|".join(_NODES)
_OVERRIDE = re.compile(
    rf"(?<![\w.'/@])[+~]?((?:{_NODE})(?:[./][a-z_0-9]+)*)=(\[[^\]]*\]|[^\s,;)\"']*)"
)
_F1 = "callbacks.checkpoint.monitor=val/f1_macro"
# What comes before them on the command line, so that their keys are there.
_BASES = (
    ["+experiment=imdb"],
    ["+experiment=imdb", "model/adapter=lora"],
    [],
    ["+experiment=mlm_imdb"],
    ["+experiment=stsb"],
    ["+experiment=stsb", "data.task=classification", "model=regression"],
    [*["+experiment=imdb", "model=multi_label", "callbacks.checkpoint.mode=max"], _F1],
    [
        *["+experiment=imdb", "model=multi_label", "callbacks.checkpoint.mode=max"],
        *("data.task=multi_label", _F1),
    ],
    ["callbacks=early_stopping"],
    ["trainer.max_steps=5"],
    ["-m", "seed=1,2"],
    ["+experiment=files", "data.source.path=x.csv", "data.source.text=0", "data.source.label=1"],
    [
        "+experiment=files",
        "data.source.path=x.csv",
        "data.task=multi_label",
        "model=multi_label",
        "callbacks.checkpoint.monitor=val/f1_macro",
    ],
    [
        "+experiment=files",
        "data.source.path=x.conll",
        "data.task=token_classification",
        "model=token_classification",
        "callbacks.checkpoint.monitor=val/f1",
    ],
)
# Descriptions of what was typed, not proposals.
_STATES = {"data.batching"}


def _list_messages() -> Iterator[str]:
    """Every text in the source that is no docstring; `{}` where a value is filled in."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        passed_over = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                passed_over.add(id(node.value))
            if isinstance(node, ast.JoinedStr):
                passed_over |= {id(part) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = (
                    str(part.value) if isinstance(part, ast.Constant) else "{}"
                    for part in node.values
                )
                yield "".join(parts)
            elif isinstance(node, ast.Constant) and id(node) not in passed_over:
                yield str(node.value)


PROPOSED = sorted(
    {
        (key, value.rstrip(".:?"))
        for message in _list_messages()
        for key, value in _OVERRIDE.findall(message)
    }
)


def test_messages_propose_overrides() -> None:
    assert len(PROPOSED) > 60


@pytest.mark.parametrize(("key", "value"), PROPOSED)
def test_a_proposed_override_is_one(key: str, value: str) -> None:
    group = key.replace(".", "/")
    if "." not in key and group in list_groups():
        # in capitals: an option of another command, with what the reader puts in
        assert "{" in value or value.isupper() or value in list_options(group)
        return
    keys = {known.key for section in list_key_sections() for known in section.keys}
    nodes = {known.rpartition(".")[0] for known in keys} if value == "null" else set()
    assert key in keys | nodes | _STATES, (
        "no such key; an option of a group is written group/name=OPTION"
    )
    # in capitals: what the reader puts in
    if "{" in value or value in ("", "...") or value.isupper() or "NAME" in value:
        return
    schema = read_task_schema()
    typed = f"{key}={value}"
    tried = []
    for base in _BASES:
        tried.append(find_override_errors([*base, typed], schema))
        if not tried[-1]:
            return
    raise AssertionError(tried)
