"""Stores of other versions of MLflow: brought up to date with a copy, or the way out is said."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from src import runs
from src.core.user_errors import UserError
from src.tracking import schema_version
from src.tracking.run_record import RunRecord
from src.tracking.schema_version import compare_schema
from src.tracking.store import Store, _open_once

# of MLflow 3.18, which 3.17 does not know
_NEWER = "f4a9b2c7d1e6"


def read_version(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def write_version(database: Path, version: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
        connection.commit()


def create_old_database(database: Path, version: str) -> None:
    """As an older MLflow would have left it, with one run."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine
    from mlflow.store.tracking.dbmodels.initial_models import Base

    database.parent.mkdir()
    engine = create_sqlalchemy_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)
    config = _get_alembic_config(f"sqlite:///{database}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    engine.dispose()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
            f"VALUES (1, 'palimpsest', '{database.parent}/artifacts/palimpsest', 'active')"
        )
        connection.execute(
            "INSERT INTO runs (run_uuid, name, experiment_id, lifecycle_stage, status, "
            "source_type, start_time, end_time, user_id, artifact_uri) VALUES "
            f"('{'a' * 32}', 'old', 1, 'active', 'FINISHED', 'LOCAL', 1, 2, 'me', "
            f"'{database.parent}/x')"
        )
        connection.commit()


def test_versions_are_compared_with_those_of_the_installed_mlflow(blank_database: Path) -> None:
    newest = read_version(blank_database)
    assert compare_schema(newest) == compare_schema(None) == "same"
    assert compare_schema(schema_version._read_revisions()[newest]) == "older"
    # the first one of all
    assert compare_schema("451aebb31d03") == "older"
    assert compare_schema(_NEWER) == "newer"


@pytest.mark.parametrize("version", ["acf3f17fdcc7", "the last but one"])
def test_an_older_file_is_copied_before_it_is_changed_and_that_is_said(
    version: str, tmp_path: Path, blank_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first lacks tables, and MLflow alone would change it; the second does not, and MLflow
    alone would refuse it.
    """
    newest = read_version(blank_database)
    if version == "the last but one":
        version = schema_version._read_revisions()[newest]
    store = Store(root=str(tmp_path), system_metrics=False)
    assert store.sqlite_file is not None
    create_old_database(store.sqlite_file, version)
    capsys.readouterr()
    assert runs.main(["--root", store.root, "--ids"]) == 0
    told = capsys.readouterr()
    [copy] = tmp_path.glob("mlruns/mlflow.before-mlflow-*.db")
    assert told.out == "a" * 32 + "\n"
    assert "was written by an older MLflow" in told.err
    assert f"{copy} is a copy of it as it was" in told.err
    assert read_version(copy) == version and read_version(store.sqlite_file) == newest
    _open_once.cache_clear()
    assert runs.main(["--root", store.root, "--ids"]) == 0
    assert capsys.readouterr().err == ""
    assert list(tmp_path.glob("mlruns/mlflow.before-mlflow-*.db")) == [copy]
    with RunRecord(store=store, name="new", kind="k", params={"a": 1}) as run:
        pass
    assert store.find_run(run.run_id).params == {"a": "1"}


def test_a_newer_file_is_left_as_it_is_with_the_way_out(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.sqlite_file is not None
    write_version(store.sqlite_file, _NEWER)
    before = store.sqlite_file.read_bytes()
    assert runs.main(["--root", store.root]) == 2
    told = capsys.readouterr().err
    assert f"{store.sqlite_file} was last opened by a newer MLflow than the one installed" in told
    assert 'pip install --upgrade "mlflow<4", or bring back a copy' in told
    assert "--uri=sqlite:///mlruns/new.db" in told and "db upgrade" not in told
    assert store.sqlite_file.read_bytes() == before


def test_a_file_that_cannot_be_copied_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "mlruns" / "mlflow.db"
    create_old_database(database, "acf3f17fdcc7")

    def fail(_: Path, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(schema_version, "atomic_write", fail)
    with pytest.raises(UserError, match="no copy of it can be written to .*no space left"):
        Store(root=str(tmp_path)).open()
    assert read_version(database) == "acf3f17fdcc7"


def test_the_database_of_another_program_is_left_as_it_is(tmp_path: Path, store: Store) -> None:
    """Optuna's has a table `alembic_version` too."""
    file = tmp_path / "search.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("CREATE TABLE studies (study_id INTEGER)")
        connection.commit()
    shutil.copy(file, tmp_path / "copy.db")
    with pytest.raises(UserError, match="is the database of another program"):
        Store(root=str(tmp_path), uri=f"sqlite:///{file}").open()
    assert file.read_bytes() == (tmp_path / "copy.db").read_bytes()
