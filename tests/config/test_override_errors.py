"""Explanations never fail, and never hide what Hydra said."""

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st

from src.config import override_errors as module
from src.config.override_errors import explain_compose_error, find_override_errors
from src.pipeline.run import read_task_schema
from src.search.run.search_check import find_search_errors

REFUSAL = HydraException("Hydra said so")


def _said(*arguments: str) -> list[str]:
    try:
        return explain_compose_error(
            arguments, REFUSAL, read_task_schema(), find_search_errors
        ).messages
    finally:
        GlobalHydra.instance().clear()


def test_optional_inputs_are_understood_as_typed_and_as_hydra_wants_them() -> None:
    for typed in ("init_from=abc", "++init_from=abc", "tags.team=red"):
        assert _said("+experiment=quickstart", "init_from=abc", typed, "model.optim.lrr=1") == [
            "model.optim.lrr: there is no such key; did you mean 'lr'?"
        ]


def test_what_hydra_said_stands_where_nothing_better_is_found() -> None:
    assert _said() == ["Hydra said so"]
    assert _said("model.optim.lr=0.1", "--cfg", "job", "-m") == ["Hydra said so"]


def test_flags_and_their_values_are_no_overrides() -> None:
    assert _said("--cfg", "job", "-cn", "config", "trainer=gpuu") == [
        "trainer=gpuu: there is no such choice; did you mean 'gpu'?"
    ]


def test_sweeps_are_looked_into() -> None:
    assert _said("-m", "model.optim.lrr=1,2", "trainer=cpu,gpuu", "model.optim.lr=3,0.1") == [
        "trainer=gpuu: there is no such choice; did you mean 'gpu'?",
        "model.optim.lrr: there is no such key; did you mean 'lr'?",
        "model.optim.lr: expected a number above 0 and at most 1, found 3",
    ]


def test_a_choice_that_is_null_is_none() -> None:
    """Hydra raises a ValueError of its own there."""
    valid = "classification, distillation, masked_lm, multi_label, regression"
    assert _said("model=null", "seed=-1") == [
        f"model=null: there is no such choice; valid: {valid}",
        "seed: expected a whole number at least 0, found -1",
    ]


def test_what_only_hydra_refuses_stands_beside_the_rest() -> None:
    found = _said("hydra.nothing=1", "model.optim.lrr=1")
    assert found[0] == "model.optim.lrr: there is no such key; did you mean 'lr'?"
    assert found[1].startswith("hydra.nothing: ") and len(found) == 2


def test_a_failure_in_here_does_not_hide_the_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_override_errors", lambda *_: 1 / 0)
    assert explain_compose_error(["a=1"], REFUSAL, read_task_schema()).messages == ["Hydra said so"]


KEYS = st.sampled_from(
    [
        "model",
        "data",
        "model/encoder",
        "experiment",
        "+experiment",
        "model.optim.lr",
        "~data",
        "~model.optim",
        "tags",
        "name",
        "callbacks.checkpoint",
        "++a.b",
        "hydra.job",
        "hydra/launcher",
        "",
        "/",
        "/etc",
        "..",
        "init_from",
        "a@x",
    ]
)
VALUES = st.sampled_from(
    [
        "imdb",
        "null",
        "",
        "1,2",
        "[a,b]",
        "{a: 1}",
        "${a.b}",
        "${model.optim}",
        "${",
        "???",
        "range(1,3)",
        "glob(*)",
        "'",
        "é",
        "sweep(1)",
    ]
)
OVERRIDES = st.one_of(st.builds("{}={}".format, KEYS, VALUES), st.text(max_size=12), st.just("-m"))


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(st.lists(OVERRIDES, max_size=3))
def test_any_command_line_gets_an_answer(arguments: list[str]) -> None:
    try:
        # without the net below it
        found = find_override_errors(
            arguments, read_task_schema(), find_search_errors=find_search_errors
        )
    finally:
        GlobalHydra.instance().clear()
    assert all(str(each).strip() for each in found)
