"""The SQLite file in which MLflow keeps runs.

It is created once, however many processes ask for it at the same time, and corrected after the
project's folder was moved. MLflow itself is imported only to create a missing file: the UI would
take twice as long to come up otherwise.
"""

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from src.core.files import atomic_write
from src.core.printing import print_line
from src.core.sqlite_settings import (
    NORMAL_SYNCHRONOUS,
    UNSYNCED_DRAFT,
    set_connection_pragmas,
)
from src.core.user_errors import UserError
from src.tracking.schema_version import needs_update, update_schema

# every column in which MLflow keeps an absolute path
_ARTIFACT_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def prepare_database(database: Path, artifacts: Path) -> None:
    """Have a complete database at `database` whose runs find their files under `artifacts`.

    Raises UserError if the file is not a database of MLflow's, or one of a newer MLflow.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    set_connection_pragmas(database, NORMAL_SYNCHRONOUS)
    lock = FileLock(database.with_name(".lock"))
    if not database.exists():
        with lock:
            if not database.exists():
                _create_database(database, artifacts)
    try:
        if needs_update(database):
            with lock:
                update_schema(database)
        _relocate_artifacts(database, artifacts)
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{database} cannot be read as MLflow's database: {error}; move it away to begin a "
            "new one"
        ) from error


def read_experiment_id(database: Path, name: str, tag: tuple[str, str]) -> str | None:
    """Return the id of an experiment that has a tag, read without MLflow; None if there is none."""
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        row = connection.execute(
            "SELECT experiment_id FROM experiments JOIN experiment_tags USING (experiment_id) "
            "WHERE name = ? AND key = ? AND value = ?",
            (name, *tag),
        ).fetchone()
    return None if row is None else str(row[0])


def _create_database(database: Path, artifacts: Path) -> None:
    """Create the tables in a file of another name and rename it: `database` is always complete."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with atomic_write(database, fsync=True) as draft:
        for leftover in database.parent.glob(f"{draft.name}*"):
            leftover.unlink()
        set_connection_pragmas(draft, *UNSYNCED_DRAFT)
        logger = logging.getLogger("mlflow.store.db.utils")
        level = logger.level
        logger.setLevel(logging.WARNING)
        try:
            store = SqlAlchemyStore(f"sqlite:///{draft}", str(artifacts))  # type: ignore[no-untyped-call,unused-ignore]
            store.engine.dispose()
        finally:
            logger.setLevel(level)
        with closing(sqlite3.connect(draft)) as connection:
            # stored in the file; readers and writers no longer wait for each other
            connection.execute("PRAGMA journal_mode=WAL")


def _relocate_artifacts(database: Path, artifacts: Path) -> None:
    """Correct MLflow's absolute paths after the project's folder was moved or copied.

    A path `OLD/mlruns/artifacts/...` is corrected if its files are here, or if nothing is left at
    the old path.
    """
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        moved = {
            root
            for root in _find_foreign_roots(connection, artifacts)
            if _belongs_here(connection, root, artifacts)
        }
        if not moved:
            return
        for old in moved:
            for table, column in _ARTIFACT_COLUMNS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE "
                    f"substr({column}, 1, ?) = ?",
                    (f"{artifacts}/", len(old) + 2, len(old) + 1, f"{old}/"),
                )
        connection.commit()
    print_line(f"tracking: the project was moved; its runs now find their files in {artifacts}")


def _find_foreign_roots(connection: sqlite3.Connection, artifacts: Path) -> set[str]:
    """Return the folders `.../mlruns/artifacts` other than `artifacts` that runs point into."""
    mark = "/mlruns/artifacts/"
    rows = connection.execute(
        "SELECT artifact_location FROM experiments UNION SELECT DISTINCT artifact_uri FROM runs "
        "WHERE substr(artifact_uri, 1, ?) != ?",
        (len(str(artifacts)) + 1, f"{artifacts}/"),
    )
    paths = [path for (path,) in rows if path and path.startswith("/") and mark in path]
    return {path[: path.index(mark) + len(mark) - 1] for path in paths} - {str(artifacts)}


def _belongs_here(connection: sqlite3.Connection, old: str, artifacts: Path) -> bool:
    if not os.path.exists(old):
        return True
    rows = connection.execute(
        "SELECT artifact_uri FROM runs WHERE substr(artifact_uri, 1, ?) = ?", (len(old), old)
    )
    return any((artifacts / path[len(old) + 1 :]).exists() for (path,) in rows)
