"""Explanations never fail, and never hide what Hydra said."""

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st

from src.config import override_errors as module
from src.config.groups import list_options
from src.config.override_errors import explain_compose_error, find_override_errors
from src.config.overrides import describe_repeated_keys
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


def test_a_key_that_is_typed_twice_is_told() -> None:
    typed = ["seed=1", "+seed=3", "name=a", "name=a", "~seed", "--cfg=job", "--cfg=all"]
    assert describe_repeated_keys(typed) == ["note: seed is typed 2 times; the last counts, seed=3"]


def test_a_choice_that_is_null_is_none() -> None:
    """Hydra raises a ValueError of its own there."""
    valid = ", ".join(list_options("model"))
    assert _said("model=null", "seed=-1") == [
        f"model=null: there is no such choice; valid: {valid}",
        "seed: expected a whole number at least 0 and at most 4294967295, found -1",
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


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (
            "callbacks.x._target_=lightning.pytorch.callbacks.Timer callbacks.x.interval=step",
            [
                "callbacks.x: there is no such key; a callback is added with +, as "
                "+callbacks.x._target_=lightning.pytorch.callbacks.Timer",
                "callbacks.x: there is no such key; a callback is added by "
                "+callbacks.x._target_=CLASS +callbacks.x.interval=step",
            ],
        ),
        (
            "+callbacks.x._target_=lightning.pytorch.callbacks.EarlyStopping "
            "callbacks.x.monitor=val/loss",
            [
                "callbacks.x.monitor: there is no such key; an argument of EarlyStopping is added "
                "with +, as +callbacks.x.monitor=val/loss"
            ],
        ),
        (
            "+callbacks.x._target_=lightning.pytorch.callbacks.EarlyStopping",
            ["callbacks.x.monitor: must be given, as +callbacks.x.monitor=VALUE"],
        ),
        (
            "+callbacks.x._target_=lightning.pytorch.callbacks.EarlyStopping "
            "+callbacks.x.monitor=val/loss",
            [],
        ),
        (
            "model.metrics.mcc._target_=torchmetrics.MatthewsCorrCoef",
            [
                "model.metrics: there is no such key; a metric is added with +, as "
                "+model.metrics.mcc._target_=torchmetrics.MatthewsCorrCoef"
            ],
        ),
        (
            "model.metrics.mcc=3",
            [
                "model.metrics: there is no such key; a metric is added by "
                "+model.metrics.mcc._target_=CLASS"
            ],
        ),
        (
            "callbacks.model_checkpoint.monitor=val/loss",
            [
                "callbacks.model_checkpoint: there is no such key; did you mean "
                "'callbacks.checkpoint.monitor'?"
            ],
        ),
        (
            "callbacks.early_stopping.patience=3",
            ["callbacks.early_stopping: there is no such key; callbacks=early_stopping has it"],
        ),
        (
            "data.label_map.good=1",
            [
                "data.label_map.good: there is no such key; data.label_map is a value, typed "
                "whole: 'data.label_map={good: NAME}'"
            ],
        ),
    ],
)
def test_what_is_added_to_a_node_with_any_names(typed: str, says: list[str]) -> None:
    assert [str(error) for error in find_override_errors(typed.split(), read_task_schema())] == says
