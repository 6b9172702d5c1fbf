"""Many runs as columns: the database and the client say the same, in the same order."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest

from src.core.files import PROJECT_ROOT
from src.core.user_errors import UserError
from src.tracking import run_table
from src.tracking.run_record import RunRecord
from src.tracking.run_table import RunTable, list_trial_ids, load_run_table, search_run_ids
from src.tracking.store import Store


def add_run(store: Store, name: str, parent: str | None = None, **metrics: float) -> str:
    tags = {} if parent is None else {"mlflow.parentRunId": parent}
    params = {"name": name, "lr": len(name), **({"only": 1} if name == "bb" else {})}
    with RunRecord(store=store, name=name, kind="k", params=params, tags=tags) as run:
        run.log_dataset(name="d", digest="abcd", split="test", rows=3, source="s")
        run.log_metrics(metrics, step=3)
    return run.run_id


def to_text(table: RunTable) -> str:
    """A table for comparison: numbers that are none are equal."""
    metrics = {key: table.metrics[key] for key in sorted(table.metrics)}
    params = {key: table.params[key] for key in sorted(table.params)}
    return repr((table.runs, params, metrics, dict(sorted(table.tags.items()))))


def test_both_ways_read_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = add_run(store, "a", loss=0.5, accuracy=0.75)
    second = add_run(store, "bb", loss=math.nan)
    trials = [add_run(store, "t", parent=first) for _ in range(2)]
    table = load_run_table(store, [second, first])
    assert [run.id for run in table.runs] == [second, first]
    assert table.params["lr"] == ["2", "1"]
    assert table.params["only"] == ["1", None]
    assert table.metrics["accuracy"] == [None, 0.75]
    assert math.isnan(table.metrics["loss"][0] or 0)
    assert table.tags["data.fingerprint"] == ["test=abcd"] * 2
    assert table.get_tag("data/summary", 0) is None
    everything = load_run_table(store)
    assert {run.id for run in everything.runs} == {first, second, *trials}
    assert [run.started_at for run in everything.runs] == sorted(
        (run.started_at for run in everything.runs), reverse=True
    )
    assert sorted(list_trial_ids(store, first)) == sorted(trials)
    # a server is asked through the client
    monkeypatch.setattr(run_table, "_is_server", lambda store: True)
    monkeypatch.setattr(run_table, "_PAGE", 3)
    assert to_text(load_run_table(store, [second, first])) == to_text(table)
    assert {run.id for run in load_run_table(store).runs} == {run.id for run in everything.runs}
    assert sorted(list_trial_ids(store, first)) == sorted(trials)


def test_rows_are_selected_with_the_keys_that_they_have(store: Store) -> None:
    add_run(store, "a", accuracy=0.5)
    second = add_run(store, "bb")
    table = load_run_table(store)
    place = [run.id for run in table.runs].index(second)
    assert set(table.select([place]).metrics) == set()
    assert table.select([place]).params["only"] == ["1"]
    assert "only" not in table.select([1 - place]).params


def test_runs_in_the_bin_are_left_out(store: Store) -> None:
    run_id = add_run(store, "a")
    store.open().client.delete_run(run_id)
    assert load_run_table(store).runs == []


def test_a_run_whose_process_is_gone_is_closed_first(store: Store) -> None:
    run_id = add_run(store, "a")
    client = store.open().client
    client.set_tag(run_id, "process", "elsewhere")
    client.update_run(run_id, status="RUNNING")
    opened = []
    original = Store.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "open", lambda self: opened.append(1) or original(self))
        load_run_table(store)
        client.update_run(run_id, status="FINISHED")
        opened_before = len(opened)
        load_run_table(store)
    assert opened_before == len(opened) == 1


def test_a_filter_finds_ids_or_is_refused(store: Store) -> None:
    first = add_run(store, "a", accuracy=0.5)
    add_run(store, "bb", accuracy=0.9)
    assert search_run_ids(store, "metrics.accuracy < 0.8") == [first]
    with pytest.raises(UserError, match="'metrics.accuracy <' is no filter for MLflow: "):
        search_run_ids(store, "metrics.accuracy <")


@pytest.mark.parametrize(
    "where",
    [
        "metrics.accuracy > 0.4 AND metrics.accuracy < 0.8",
        "params.only = '1'",
        "tags.kind = 'finetune' AND attributes.run_name LIKE 'b%'",
        "attributes.status = 'FINISHED' AND attributes.start_time > 1",
        "params.only != '2'",
        "run_id IN ('nothing')",
    ],
)
def test_a_filter_finds_what_mlflow_finds(store: Store, where: str) -> None:
    add_run(store, "a", accuracy=0.5)
    add_run(store, "bb", accuracy=0.9)
    gone = add_run(store, "b", accuracy=0.6)
    session = store.open()
    session.client.delete_run(gone)
    other = replace(store, experiment="other")
    add_run(other, "b", accuracy=0.6)
    runs = session.client.search_runs([session.experiment_id], where)
    assert search_run_ids(store, where) == [run.info.run_id for run in runs]


def test_a_file_is_read_without_importing_mlflow(store: Store) -> None:
    add_run(store, "a")
    script = (
        "import sys; from src.tracking.store import Store; "
        "from src.tracking.run_table import load_run_table; "
        f"assert len(load_run_table(Store(root={store.root!r})).runs) == 1; "
        "assert 'mlflow' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, check=True)
