"""Addresses in MLflow's UI, and the view with which its table of runs opens."""

import json

import pytest

from src.core.files import PROJECT_ROOT
from src.tracking.database import read_experiment_id
from src.tracking.store import Store, _open_once
from src.tracking.ui_pages import (
    VIEW_TAG,
    build_table_view,
    describe_ui_page,
    format_ui_link,
)
from src.tracking.ui_server import resolve_runs_page


def test_a_new_experiment_has_the_view_and_an_old_one_gets_it(store: Store) -> None:
    session = store.open()
    experiment = session.client.get_experiment(session.experiment_id)
    assert experiment.tags[VIEW_TAG] == build_table_view()
    # MLflow 3.13 takes 5000 characters
    assert VIEW_TAG == "mlflow.sharedViewState.palimpsest" and len(build_table_view()) < 5000
    for write in (
        lambda: session.client.delete_experiment_tag(session.experiment_id, VIEW_TAG),
        lambda: session.client.set_experiment_tag(session.experiment_id, VIEW_TAG, "{}"),
    ):
        write()
        _open_once.cache_clear()
        assert resolve_runs_page(store) == format_ui_link(session.experiment_id)
        experiment = session.client.get_experiment(session.experiment_id)
        assert experiment.tags[VIEW_TAG] == build_table_view()
    assert store.sqlite_file is not None
    view = (VIEW_TAG, build_table_view())
    assert read_experiment_id(store.sqlite_file, store.experiment, view) == session.experiment_id
    assert read_experiment_id(store.sqlite_file, "other", view) is None


def test_the_view_has_results_before_data_and_the_newest_first() -> None:
    view = json.loads(build_table_view())
    assert (view["orderByKey"], view["orderByAsc"]) == ("attributes.start_time", False)
    assert {"metrics.`test/accuracy`", "metrics.`best/val/accuracy`", "metrics.`val/loss`"} <= set(
        view["selectedColumns"]
    )
    assert set(view["selectedColumns"]) <= set(view["columnOrder"])


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        (
            f"sqlite:///{PROJECT_ROOT / 'mlruns/mlflow.db'}",
            "make ui, then http://127.0.0.1:5000/#/x",
        ),
        (
            "sqlite:////x/my runs/mlflow.db",
            "python -m src.ui 'uri=sqlite:////x/my runs/mlflow.db', then http://127.0.0.1:5000/#/x",
        ),
        ("https://host/", "https://host/#/x"),
        ("postgresql://host/db", "MLflow's UI, #/x"),
    ],
)
def test_where_a_page_is(uri: str, place: str) -> None:
    assert describe_ui_page(uri, "#/x") == place
