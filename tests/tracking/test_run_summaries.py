"""Lists of runs: what they were judged by, what their test measured, and where they are."""

import json
import math
from typing import Any

import pytest

from src import compare, leaderboard, runs, ui
from src.tracking.run_record import RunRecord
from src.tracking.store import Store


def add_run(store: Store, name: str, metrics: dict[str, float], **options: Any) -> str:
    params = {"callbacks": {"checkpoint": {"monitor": "val/loss"}}}
    with RunRecord(store=store, **{"name": name, "kind": "k", "params": params, **options}) as run:
        run.log_metrics(metrics, step=3)
    return run.run_id


def list_runs(store: Store, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    capsys.readouterr()
    assert runs.main(["--root", store.root, *words]) == 0
    return capsys.readouterr()


def test_a_list_has_test_metrics_and_says_where_it_is_from(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = add_run(store, "one", {"val/loss": 0.5, "test/loss": 0.4, "test/accuracy": 0.75})
    table, said = list_runs(store, capsys)
    assert "val/loss 0.5 (best 0.5 at 3)  test/accuracy 0.75  one" in table
    assert said == f"runs of experiment palimpsest in {store.sqlite_file}\n"
    [shown] = json.loads(list_runs(store, capsys, "--json")[0])
    assert shown["test"] == {"test/accuracy": 0.75, "test/loss": 0.4}
    assert f"/runs/{run_id}?workflowType=machine_learning" in shown["page"]
    details, _ = list_runs(store, capsys, run_id[:8])
    assert "test:        test/accuracy 0.75  test/loss 0.4\n" in details
    assert (
        f"page:        python -m src.ui uri={store.tracking_uri}, "
        f"then http://127.0.0.1:5000/#/experiments/1/runs/{run_id}" in details
    )


def test_a_list_is_sorted_by_a_metric_the_best_first(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"a": (0.3, 0.7), "b": (0.1, 0.9), "c": (math.nan, math.nan), "d": (0.2, 0.8)}
    ids = {
        name: add_run(store, name, {"val/loss": loss, "test/accuracy": accuracy})
        for name, (loss, accuracy) in values.items()
    }
    ids["e"] = add_run(store, "e", {"train/loss": 1.0})
    names = {run_id: name for name, run_id in ids.items()}
    for metric in ("val/loss", "test/accuracy"):
        listed = list_runs(store, capsys, "--ids", "--sort", metric)[0].split()
        assert "".join(names[run_id] for run_id in listed) == "bdace"
    best = list_runs(store, capsys, "--ids", "--sort", "val/loss", "--limit", "1")[0].split()
    assert best == [ids["b"]]
    none = list_runs(store, capsys, "--status", "killed", "--sort", "val/loss")[0]
    assert none == "no run is like that\n"
    assert runs.main(["--root", store.root, "--sort", "test/acuracy"]) == 2
    assert "--sort test/acuracy: no run has this metric; did you mean 'test/accuracy'?" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("--kind fine-tune", "no run is of this kind; did you mean 'finetune'? valid: finetune, k"),
        ("--kind zzz --status failed", "no run is of this kind; valid: finetune, k"),
        ("--tag jbo=8", "no run has such a tag; did you mean 'job'?"),
        ("--sort test/acc", "no run has this metric; did you mean 'test/accuracy'?"),
    ],
)
def test_names_that_no_run_has(
    store: Store, capsys: pytest.CaptureFixture[str], typed: str, says: str
) -> None:
    add_run(store, "one", {"test/auroc": 0.5, "test/accuracy": 0.5}, kind="finetune")
    with RunRecord(store=store, name="two", kind="k", params={}, tags={"job": "7"}):
        pass
    capsys.readouterr()
    assert runs.main(["--root", store.root, *typed.split()]) == 2
    option = " ".join(typed.split()[:2])
    assert capsys.readouterr().err == f"error: {option}: {says}\n"
    # these may be right, and no run is like that
    for right in ("--kind k --status failed", "--tag job=8", "--kind finetune --tag job=7"):
        assert list_runs(store, capsys, *right.split())[0] == "no run is like that\n"


def test_an_experiment_that_is_not_there(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    add_run(store, "one", {"val/loss": 0.5})
    says = "there is no such experiment; did you mean 'palimpsest'? valid: Default, palimpsest"
    for command in (runs, compare, leaderboard):
        capsys.readouterr()
        assert command.main(["--root", store.root, "--experiment", "palimpset"]) == 2
        assert capsys.readouterr().err.endswith(f"error: --experiment=palimpset: {says}\n")
    capsys.readouterr()
    assert ui.main([f"root={store.root}", "experiment=palimpset"]) == 2
    assert capsys.readouterr().err.endswith(f"error: experiment=palimpset: {says}\n")
    # nor is there one afterwards
    assert store.open().client.get_experiment_by_name("palimpset") is None


def test_a_sweep_shows_its_best_trial_and_value(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunRecord(store=store, name="sweep", kind="search", params={}) as run:
        for step, best in ((1, 0.6), (2, 0.8)):
            run.log_metrics({"best/val/accuracy": best, "trial/val/accuracy": 0.6}, step=step)
        run.set_tag("search.best_trial", "4")
        trial = add_run(store, "trial", {"test/accuracy": 0.7}, parent=run.run_id)
        run.set_tag("search.best_run_id", trial)
    assert "val/accuracy 0.8 (trial 4)  test/accuracy 0.7" in list_runs(store, capsys)[0]
    [shown] = json.loads(list_runs(store, capsys, "--json", "--kind", "search")[0])
    assert (shown["metric"], shown["best"], shown["best_trial"]) == ("val/accuracy", 0.8, "4")
    assert (shown["test"], shown["best_run_id"]) == ({"test/accuracy": 0.7}, trial)
    details, said = list_runs(store, capsys, "sweep")
    assert f"best trial:  4: run {trial}\ntest:        test/accuracy 0.7\n" in details
    assert said.startswith("RUN_ID=sweep: run ")


def test_an_infinity_of_an_older_store_is_one(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = add_run(store, "x", {"val/loss": 0.5})
    # as MLflow keeps it
    store.open().client.log_metric(run_id, "val/loss", math.inf, step=4)
    assert "val/loss inf (best 0.5 at 3)" in list_runs(store, capsys)[0]
    [shown] = json.loads(list_runs(store, capsys, "--json")[0])
    assert (shown["last"], shown["best"]) == (None, 0.5)


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        ("list", "python -m src.runs alone lists them"),
        ("repair", "did you mean '--repair'?"),
        (
            "delete",
            "runs are deleted in the UI (python -m src.ui), from where they can be restored",
        ),
        ("show", "did you mean 'python -m src.runs abcdef'?"),
    ],
)
def test_words_of_other_programs_are_no_run(
    typed: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runs.main([typed, "abcdef"] if typed in ("delete", "show") else [typed]) == 2
    assert capsys.readouterr().err == f"error: '{typed}' is not the id of a run; {remedy}\n"
