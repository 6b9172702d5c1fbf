"""`python -m src.rerun`: the verdict over a repeated run, and what is other than then."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from src.core.user_errors import UserError
from src.pipeline.rerun import (
    Comparison,
    _compare_environments,
    check_can_rerun,
    describe_weight_differences,
    find_first_differences,
    list_differences,
)
from src.pipeline.run import read_task_schema
from src.rerun import main
from src.run import compose_and_run
from src.tracking.store import Store

NAN = float("nan")
ENVIRONMENT = """\
python: 3.12.1 (/home/ann/.venv/bin/python)
platform: Linux-6.1
host: then
processor: AMD EPYC
torch threads: 2

numpy==2.4.0
torch==2.12.0
"""


def test_a_run_comes_out_the_same_and_a_changed_one_does_not(
    tmp_path: Path,
    blank_database: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_bytes(blank_database.read_bytes())
    typed = [
        "+experiment=quickstart_scratch",
        "trainer=cpu",
        "trainer.threads=1",
        "trainer.max_steps=3",
        "model/encoder=tiny",
        f"tracking.root={tmp_path}",
        f"data.cache={tmp_path}/cache",
    ]
    assert compose_and_run(typed, read_task_schema()) == 0, capsys.readouterr().err
    store = Store(root=str(tmp_path), experiment="palimpsest")
    [first] = store.search_runs(limit=3)
    capsys.readouterr()

    assert main(["latest", "--root", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["equal"] and answer["run"] == first.id
    assert answer["weights"] == "" and answer["metrics"] == {} and answer["num_values"] > 10
    again = store.find_run(answer["rerun"])
    assert again.tags["rerun_of"] == first.id
    # what was measured then is not measured again
    settled = first.tags["precision"].partition(":")[0]
    assert again.params == first.params | {"trainer.precision": settled}

    # another commit than then, and another value of a metric
    client = store.open().client
    client.set_tag(first.id, "commit", "0" * 40)
    client.log_metric(first.id, "test/loss", 0.5, step=first.last_steps["test/loss"])
    assert main([first.id, "--root", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "other than then: commit: 00000000 then, " in shown
    assert "not equal: 1 of " in shown and "test/loss at step 3: 0.5 then, 0." in shown
    assert len(store.search_runs(limit=9)) == 3


@pytest.mark.parametrize(
    ("then", "now", "found"),
    [
        ({"a": {1: 0.1}}, {"a": {1: 0.1}}, {}),
        ({"a": {1: NAN}}, {"a": {1: NAN}}, {}),
        ({"a": {1: 0.1, 2: 0.2}}, {"a": {1: 0.1, 2: 0.2 + 3e-17}}, {"a": (2, 0.2, 0.2 + 3e-17)}),
        ({"a": {1: 0.1, 2: 0.2}}, {"a": {1: 0.1}}, {"a": (2, 0.2, None)}),
        ({}, {"b": {0: 1.0}}, {"b": (0, None, 1.0)}),
        ({"a": {1: 0.0}}, {"a": {1: -0.0}}, {"a": (1, 0.0, -0.0)}),
    ],
)
def test_the_first_step_that_differs_is_named(then: Any, now: Any, found: Any) -> None:
    assert find_first_differences(then, now) == found


def test_weights_that_differ_are_counted(tmp_path: Path) -> None:
    folders = []
    for name, value in (("then", 1.0), ("now", 1.25)):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        tensors = {"same": torch.ones(3), "other": torch.full((2,), value)}
        save_file(tensors, folders[-1] / "model.safetensors")
    assert describe_weight_differences(*folders) == "1 of 2 tensors differ, by 0.25 at most"
    assert describe_weight_differences(folders[0], folders[0]) == ""


def test_two_runs_with_nothing_in_common_are_not_equal() -> None:
    empty = Comparison(num_metrics=0, num_values=0, metrics={}, weights=None, data=[])
    assert not empty.is_equal
    assert list(empty.describe()) == ["not equal: the two runs have no value of a metric in common"]


def test_what_is_other_in_the_environment() -> None:
    now = ENVIRONMENT.replace("/home/ann", "/srv").replace("host: then", "host: now")
    assert _compare_environments(ENVIRONMENT, now) == []
    now = now.replace("threads: 2", "threads: 4").replace("torch==2.12.0", "torch==2.13.0")
    assert _compare_environments(ENVIRONMENT, now + "peft==0.21.2\n") == [
        "torch threads: 2 then, 4 now",
        "peft absent then, 0.21.2 now",
        "torch 2.12.0 then, 2.13.0 now",
    ]


def test_a_run_without_a_description_of_its_environment(tmp_path: Path) -> None:
    store: Any = SimpleNamespace(root=str(tmp_path), load_artifact_text=lambda *_: None)
    run: Any = SimpleNamespace(id="a" * 32, tags={})
    assert list_differences(store, run)[-1] == "environment: the run holds no environment.txt"


@pytest.mark.parametrize(
    ("status", "tags", "message"),
    [
        ("RUNNING", {}, "still goes on"),
        ("FINISHED", {"kind": "search", "search.best_run_id": "b" * 32}, "best trial is run bbb"),
        ("FINISHED", {"forked_from": "c" * 32}, "python -m src.rerun cccccccc"),
    ],
)
def test_what_cannot_be_run_again(status: str, tags: dict[str, str], message: str) -> None:
    run: Any = SimpleNamespace(status=status, tags=tags)
    with pytest.raises(UserError, match=message):
        check_can_rerun(run)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ([], "which run shall be repeated is not said"),
        (["--diff"], "there is no option --diff"),
        (["abcdef"], "there is no such run"),
    ],
)
def test_mistakes(
    typed: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*typed, "--root", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
