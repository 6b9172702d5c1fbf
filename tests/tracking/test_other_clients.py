"""What other clients of MLflow, set-back clocks and steps trained again leave in a store."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.core.user_errors import UserError
from src.tracking.run_summaries import list_run_summaries, summarize_run
from src.tracking.run_table import load_run_table
from src.tracking.store import Store

AddOther = Callable[..., str]
_STARTED = 1_700_000_000_000


@pytest.fixture
def add_other(store: Store) -> AddOther:
    """Keep a run as another program does; returns its id."""

    def add(
        name: str = "other",
        *,
        points: tuple[tuple[str, float, int], ...] = (),
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        seconds: float = 10,
        status: str = "FINISHED",
    ) -> str:
        session = store.open()
        client = session.client
        run_id = client.create_run(session.experiment_id, _STARTED, tags or {}, name).info.run_id
        for place, (key, value, step) in enumerate(points):
            client.log_metric(run_id, key, value, timestamp=_STARTED + place, step=step)
        for key, text in (params or {}).items():
            client.log_param(run_id, key, text)
        client.set_terminated(run_id, status, _STARTED + int(1000 * seconds))
        return str(run_id)

    return add


def summarize(store: Store, run_id: str) -> Any:
    return summarize_run(store, store.find_run(run_id))


@pytest.mark.parametrize(
    "name", ["Anna's best", 'say "hi"', "100%_x", "größe 🙂", "a\\b", "deadbeef"]
)
def test_a_run_is_found_by_any_name(name: str, store: Store, add_other: AddOther) -> None:
    run_id = add_other(name)
    assert store.find_run(name).id == run_id


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("k", "it's"),
        ("k", 'say "hi"'),
        ("a`b", "v"),
        ("a.b/c d", "x AND y;"),
        ("é", ""),
        ("k", "a\\b"),
    ],
)
def test_runs_are_selected_by_any_tag(
    key: str, value: str, store: Store, add_other: AddOther
) -> None:
    run_id = add_other(tags={key: value})
    add_other(tags={key: "else"})
    found = list_run_summaries(store, status=None, kind=None, tags={key: value}, limit=9)
    assert [run.id for run in found] == [run_id]


def test_both_kinds_of_quotation_marks_are_refused(store: Store, add_other: AddOther) -> None:
    add_other()
    with pytest.raises(UserError, match="both kinds of quotation marks"):
        list_run_summaries(store, status=None, kind=None, tags={"k": "'\""}, limit=9)


def test_the_later_value_of_a_step_counts(store: Store, add_other: AddOther) -> None:
    monitor = {"callbacks.checkpoint.monitor": "val/f1", "callbacks.checkpoint.mode": "max"}
    run = summarize(
        store,
        add_other(
            params=monitor, points=(("val/f1", 0.9, 2), ("val/f1", 0.5, 1), ("val/f1", 0.7, 2))
        ),
    )
    assert (run.last, run.best, run.best_step) == (0.7, 0.7, 2)


def test_a_clock_that_was_set_back_gives_no_length(store: Store, add_other: AddOther) -> None:
    run_id = add_other(seconds=-5)
    assert summarize(store, run_id).elapsed_seconds is None
    assert load_run_table(store).runs[0].seconds is None


def test_an_infinity_is_none_of_the_largest_numbers(store: Store, add_other: AddOther) -> None:
    run_id = add_other(points=(("loss", math.inf, 1), ("low", -math.inf, 1), ("nan", math.nan, 1)))
    metrics = load_run_table(store).metrics
    assert (metrics["loss"], metrics["low"]) == ([math.inf], [-math.inf])
    assert math.isnan(metrics["nan"][0])  # type: ignore[arg-type]
    assert store.read_metric_histories(run_id)["loss"] == {1: math.inf}


def test_runs_are_sorted_by_a_metric_that_few_have(store: Store, add_other: AddOther) -> None:
    best = add_other(points=(("val/mse", 0.1, 1),))
    add_other(points=(("val/mse", 0.2, 1),))
    add_other()
    options: dict[str, Any] = {"status": None, "kind": None, "tags": {}, "limit": 1}
    assert list_run_summaries(store, sort="val/mse", **options)[0].id == best
    with pytest.raises(UserError, match="no run has this metric; did you mean 'val/mse'"):
        list_run_summaries(store, sort="val/mze", **options)


def test_the_latest_run_is_looked_for_behind_trials(store: Store, add_other: AddOther) -> None:
    for _ in range(2):
        add_other(tags={"mlflow.parentRunId": "0" * 32})
    with pytest.raises(UserError, match="all 2 runs are trials of sweeps that are gone"):
        store.find_run("latest")


def test_an_experiment_in_the_bin_is_called_so(make_store: Any, tmp_path: Path) -> None:
    store = make_store(tmp_path / "x", experiment="gone")
    session = store.open()
    session.client.delete_experiment(session.experiment_id)
    with pytest.raises(UserError, match="is in the UI's bin"):
        store.check_experiment()


@pytest.mark.parametrize("name", ["a%20b", "a?b"])
def test_a_folder_that_an_address_would_change_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="means something else in the address of a store"):
        Store(root=str(tmp_path / name)).check()
    Store(root=str(tmp_path / "a b#ö{c}")).check()
