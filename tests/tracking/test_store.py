"""The store of runs: checked, created by several processes at once, moved, and searched."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from src.core.files import PROJECT_ROOT
from src.core.redaction import redact_text
from src.core.user_errors import UserError
from src.tracking.run_record import RunRecord
from src.tracking.store import Store, _open_once

PROJECT = Path(__file__).resolve().parents[2]


def test_importing_and_checking_costs_nothing() -> None:
    code = """
import sys
from src.tracking.store import Store
Store(root="/tmp").check()
heavy = {"mlflow", "torch", "lightning", "sqlalchemy", "psutil"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": "here"}, "tracking.root=here: expected the project's absolute folder"),
        ({"experiment": " "}, "tracking.experiment is empty"),
        (
            {"uri": "mlruns"},
            "tracking.uri=mlruns is not the address of a store: expected null (a SQLite file",
        ),
        (
            {"uri": "file:///x/mlruns"},
            "tracking.uri=file:///x/mlruns is not the address of a store",
        ),
        ({"uri": "sqllite:///x.db"}, "begins with an unknown 'sqllite': did you mean 'sqlite'?"),
        ({"uri": "sqlite:///"}, "names no file"),
        ({"uri": "ftp://me:pass@host"}, "tracking.uri=ftp://me:***@host begins with"),
    ],
)
def test_faults_of_the_config(options: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as fault:
        Store(**({"root": "/tmp"} | options)).check()
    assert message in redact_text(str(fault.value))


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="is not a folder that this user may write to"):
        Store(root=str(tmp_path)).check()


def test_wrong_types_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"Store.flush_seconds: expected a number at least 0, found -1"
    ):
        Store(root="/tmp", flush_seconds=-1)


def test_check_writes_nothing(tmp_path: Path) -> None:
    Store(root=str(tmp_path)).check()
    assert list(tmp_path.iterdir()) == []


def test_four_processes_create_a_missing_store_at_once(tmp_path: Path) -> None:
    code = f"""
from src.tracking.store import Store
Store(root={str(tmp_path)!r}).open()
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0, 0, 0, 0]
    assert Store(root=str(tmp_path)).search_runs() == []
    with sqlite3.connect(tmp_path / "mlruns" / "mlflow.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    assert not list((tmp_path / "mlruns").glob("*.new*"))


def test_connections_of_the_store_are_light_and_others_untouched(
    store: Store, tmp_path: Path
) -> None:
    import sqlalchemy
    from sqlalchemy import text

    store.open()
    levels = []
    for file in (store.sqlite_file, tmp_path / "other.db"):
        engine = sqlalchemy.create_engine(f"sqlite:///{file}")
        with engine.connect() as connection:
            levels.append(connection.execute(text("PRAGMA synchronous")).scalar())
        engine.dispose()
    # NORMAL, FULL
    assert levels == [1, 2]


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_text(
        "not a database, and longer than sixteen bytes" * 20
    )
    with pytest.raises(UserError, match="cannot be read as MLflow's database"):
        Store(root=str(tmp_path)).open()


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(UserError) as fault:
        Store(root="/tmp", uri="http://me:word@127.0.0.1:9").open()
    message = redact_text(str(fault.value))
    assert "tracking.uri=http://me:***@127.0.0.1:9: no server answers there" in message


@pytest.mark.parametrize("gone", [True, False], ids=["moved", "copied"])
def test_a_moved_project_finds_its_files(
    make_store: Callable[..., Store], tmp_path: Path, capsys: pytest.CaptureFixture[str], gone: bool
) -> None:
    old = make_store(tmp_path / "old", experiment="my runs")
    with RunRecord(store=old, name="x", kind="k", params={}) as run:
        run.log_text("hello", "report/note.md")
    (shutil.move if gone else shutil.copytree)(tmp_path / "old", tmp_path / "new place")
    capsys.readouterr()
    new = Store(root=str(tmp_path / "new place"), experiment="my runs")
    found = new.find_run(run.run_id)
    assert (
        found.artifact_uri
        == f"{tmp_path}/new place/mlruns/artifacts/my_runs/{run.run_id}/artifacts"
    )
    assert Path(found.artifact_uri, "report", "note.md").read_text() == "hello"
    assert capsys.readouterr().out == (
        f"tracking: the project was moved; its runs now find their files in {tmp_path}/new "
        "place/mlruns/artifacts\n"
    )
    # as another process would
    _open_once.cache_clear()
    new.open()
    assert capsys.readouterr().out == ""


def test_runs_can_be_named_by_the_beginning_of_their_id(store: Store) -> None:
    with RunRecord(store=store, name="imdb", kind="k", params={}) as run:
        pass
    assert store.find_run(run.run_id[:6].upper()).id == store.find_run(run.run_id).id == run.run_id


def test_runs_can_be_named(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    def keep(title: str, parent: str | None = None, **params: str) -> str:
        with RunRecord(store=store, name=title, kind="k", params=params, parent=parent) as run:
            pass
        return run.run_id

    first, second = keep("imdb lr=1e-5", name="imdb"), keep("imdb lr=1e-5", name="imdb")
    other = keep("deadbeef")
    sweep = keep("search")
    keep("imdb lr=1e-4", parent=sweep)
    capsys.readouterr()
    assert store.find_run("imdb lr=1e-5", key="run").id == second
    assert capsys.readouterr().err == f"run=imdb lr=1e-5: run {second} (imdb lr=1e-5, FINISHED)\n"
    # as the config calls it; an id goes before a name, and a trial is not the latest run
    assert store.find_run("imdb", key="run").id == second
    assert store.find_run("deadbeef", key="run").id == other
    assert store.find_run("latest", key="resume").id == sweep
    capsys.readouterr()
    assert store.find_run(first[:8], key="run").id == first
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match=r"or a run's name; did you mean 'imdb lr=1e-5'\?"):
        store.find_run("imbd lr=1e-5")
    with pytest.raises(UserError, match=r"or a run's name; did you mean 'imdb'\?"):
        store.find_run("imbd")


def test_a_run_that_was_offline_has_two_ids(store: Store) -> None:
    with RunRecord(store=store, name="imdb", kind="k", params={}) as run:
        run.set_tag("local_id", "abcdef12" * 4)
    assert store.find_run("abcdef12").id == run.run_id


def test_the_newest_run_with_an_encoder_is_named(store: Store) -> None:
    with RunRecord(store=store, name="first", kind="k", params={}) as run:
        run.log_text("{}", "model/config.json")
    with RunRecord(store=store, name="later", kind="k", params={}):
        pass
    with pytest.raises(UserError) as fault:
        store.find_run("latest", key="init_from")
    assert str(fault.value).endswith(
        f"init_from={run.run_id[:8]} is the newest with an encoder (first)"
    )


def test_faults_of_a_run_id(store: Store) -> None:
    with RunRecord(store=store, name="imdb", kind="k", params={}) as run:
        pass
    listed = f"{run.run_id} (imdb, FINISHED)"
    with pytest.raises(UserError) as fault:
        store.find_run("latest", key="init_from")
    assert str(fault.value) == (
        "init_from=latest: the command that is kept with the run would mean another run tomorrow, "
        f"so a run is named here; the latest are {listed}; `{store.build_runs_command()}` lists "
        "all runs"
    )
    for wrong in ("abc", "../../etc", "a" * 33, "'; DROP TABLE runs"):
        with pytest.raises(UserError) as fault:
            store.find_run(wrong, key="init_from")
        assert str(fault.value) == (
            f"init_from={wrong!r} is not a run id: expected its 32 hexadecimal digits, the "
            "first 6 or more of them, or a run's name; "
            f"the latest are {listed}; `{store.build_runs_command()}` lists all runs"
        )
    with pytest.raises(UserError) as fault:
        store.find_run("modernbert-base", key="init_from")
    assert str(fault.value).endswith(
        "a model of the hub is, without init_from, model/encoder=pretrained "
        "data/tokenizer=pretrained model.encoder.name_or_path=modernbert-base"
    )
    with pytest.raises(UserError, match=f"did you mean '{run.run_id}'"):
        store.find_run(f"runs:/{run.run_id}/model", key="run")
    typo = run.run_id[:-1] + ("0" if run.run_id[-1] != "0" else "1")
    with pytest.raises(UserError) as fault:
        store.find_run(typo, key="init_from")
    assert str(fault.value) == (
        f"init_from={typo!r}: there is no such run in sqlite:///{store.sqlite_file}; did you mean "
        f"{listed}?"
    )


def test_commands_name_a_store_that_they_would_not_look_at(tmp_path: Path) -> None:
    here, there = Store(root=str(PROJECT_ROOT)), Store(root=f"{tmp_path}/my runs")
    assert here.build_sync_command("ab12") == "python -m src.sync ab12"
    assert there.build_sync_command() == f"python -m src.sync --root '{tmp_path}/my runs'"
    assert here.build_runs_command() == "python -m src.runs"
    assert there.build_runs_command() == f"python -m src.runs --root '{tmp_path}/my runs'"
    server = Store(root=str(PROJECT_ROOT), uri="https://me:secret@host")
    assert server.build_runs_command().startswith("python -m src.runs --uri ")
    assert "secret" not in server.build_runs_command()


def test_no_runs_at_all(store: Store) -> None:
    with pytest.raises(
        UserError, match=r"run_id='abcdef': there is no such run in .*; no run has been kept yet$"
    ):
        store.find_run("abcdef")


def test_an_ambiguous_and_a_deleted_run(store: Store) -> None:
    with RunRecord(store=store, name="one", kind="k", params={}) as run:
        pass
    with sqlite3.connect(str(store.sqlite_file)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
        values = ", ".join(
            f"'{run.run_id[:8]}' || hex(zeroblob(12))" if c == "run_uuid" else c for c in columns
        )
        connection.execute(f"INSERT INTO runs ({', '.join(columns)}) SELECT {values} FROM runs")
    connection.close()
    with pytest.raises(
        UserError, match=rf"run_id='{run.run_id[:8]}' begins several runs: .*; give more digits"
    ):
        store.find_run(run.run_id[:8])
    store.open().client.delete_run(run.run_id)
    with pytest.raises(UserError, match="is in the UI's bin; restore it there to use it"):
        store.find_run(run.run_id)


def test_a_run_without_an_encoder(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # this checkout may have changes, which the run would hold too
    monkeypatch.setattr("src.tracking.environment.read_git_state", lambda root: None)
    with (
        pytest.raises(ValueError),
        RunRecord(store=store, name="imdb", kind="k", params={}, config_yaml="a: 1\n") as run,
    ):
        raise ValueError("broken")
    with pytest.raises(UserError) as fault:
        store.fetch_model_folder(run.run_id)
    assert str(fault.value) == (
        f"init_from={run.run_id!r}: run {run.run_id} (imdb) has no encoder; "
        "its status is FAILED: ValueError: broken; it holds config.yaml, console.log, "
        "environment.txt, traceback.txt"
    )


def test_a_run_of_a_deleted_experiment(make_store: Callable[..., Store], tmp_path: Path) -> None:
    gone = make_store(tmp_path, experiment="gone")
    with RunRecord(store=gone, name="one", kind="k", params={}) as run:
        pass
    store = replace(gone, experiment="other")
    client = store.open().client
    experiment = client.get_run(run.run_id).info.experiment_id
    client.delete_experiment(experiment)
    command = f"mlflow experiments restore --experiment-id {experiment}"
    with pytest.raises(UserError, match=f"experiment gone: {command} brings both back"):
        store.find_run(run.run_id)
    client.restore_experiment(experiment)
    assert store.find_run(run.run_id).id == run.run_id


def test_a_deleted_experiment(make_store: Callable[..., Store], tmp_path: Path) -> None:
    store = make_store(tmp_path, experiment="gone")
    store.open().client.delete_experiment(store.open().experiment_id)
    _open_once.cache_clear()
    with pytest.raises(UserError, match=r"tracking.experiment=gone is in the UI's bin"):
        store.open()


def test_nothing_opens_a_second_database(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    store.open()
    assert mlflow.get_tracking_uri() == store.tracking_uri
    with RunRecord(store=store, name="x", kind="k", params={}) as run:
        run.log_text("x", "x.txt")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("address", ["databricks", "file:///tmp/mlruns", "./mlruns", "ftp://x/y"])
def test_an_address_of_the_environment_that_is_none_is_refused(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(UserError) as refused:
        Store(root=str(tmp_path), uri=address).check()
    assert str(refused.value).startswith(f"MLFLOW_TRACKING_URI={address} ")


def test_the_environment_is_said_and_stays_what_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store.announce_environment()
    assert capsys.readouterr().err == ""
    store.open()
    # MLflow writes the address that it uses into the environment
    assert "MLFLOW_TRACKING_URI" not in os.environ

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "reviews")
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123")
    Store(root=store.root, uri="http://tracking:5000", experiment="reviews").announce_environment()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "store: http://tracking:5000 (MLFLOW_TRACKING_URI), experiment reviews "
        "(MLFLOW_EXPERIMENT_NAME)",
        "MLFLOW_RUN_ID has no effect here",
    ]
    typed = Store(root=store.root, uri="sqlite:///other.db")
    typed.announce_environment()
    assert "MLFLOW_TRACKING_URI" not in capsys.readouterr().err


def test_a_run_kept_offline_may_have_a_store_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline = Store(root=str(tmp_path), uri="http://tracking:5000", offline=True)
    with pytest.raises(UserError, match="has no store"):
        offline.check()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    offline.check()
