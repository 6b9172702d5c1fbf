"""The SQLite file: made once however many processes ask for it, fast to write, and mended when the project moved."""

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from filelock import FileLock

from src.terms.fault import Fault

# Every column in which MLflow keeps the absolute place of a file.
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def prepare(database: Path, artifacts: Path) -> None:
    """Leave a complete database at `database` whose files are found under `artifacts`."""
    database.parent.mkdir(parents=True, exist_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    _write_lightly(database)
    if not database.exists():
        with FileLock(database.with_name(".lock")):
            if not database.exists():
                _create(database, artifacts)
    try:
        _mend(database, artifacts)
    except sqlite3.DatabaseError as error:
        raise Fault(
            f"{database} cannot be read as MLflow's database: {error}; move it away to begin a new one"
        ) from error


def experiment_id(database: Path, name: str) -> str | None:
    """The experiment's id, read without MLflow: to import it would double the time in which the UI comes up."""
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        row = connection.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _create(database: Path, artifacts: Path) -> None:
    """Build the tables beside and rename at the end, so a file of that name is always whole."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    draft = database.with_name(f"{database.name}.new")
    for leftover in database.parent.glob(f"{draft.name}*"):
        leftover.unlink()
    talk = logging.getLogger("mlflow.store.db.utils")
    level = talk.level
    talk.setLevel(logging.WARNING)
    try:
        store = SqlAlchemyStore(f"sqlite:///{draft}", str(artifacts))  # type: ignore[no-untyped-call,unused-ignore]
        store.engine.dispose()
    finally:
        talk.setLevel(level)
    with closing(sqlite3.connect(draft)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # kept in the file: readers and writers no longer wait
    os.replace(draft, database)


def _write_lightly(database: Path) -> None:
    """`synchronous=NORMAL` for every connection to this file: in WAL mode safe against crashes, and four times faster.

    The setting belongs to a connection, not to the file, hence the event; other databases are left as they are.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def lighten(connection: Any, _: Any) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        file = connection.execute("PRAGMA database_list").fetchone()[2]
        if file and os.path.realpath(file) == os.path.realpath(database):
            connection.execute("PRAGMA synchronous=NORMAL")


def _mend(database: Path, artifacts: Path) -> None:
    """Point runs to their files again after the project's folder was moved or copied; says so in one line.

    MLflow keeps absolute places. A place `OLD/mlruns/artifacts/...` belongs here if its files are here, or if there is
    nothing left at the old one.
    """
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        moved = {root for root in _foreign_roots(connection, artifacts) if _belongs_here(connection, root, artifacts)}
        if not moved:
            return
        for old in moved:
            for table, column in _PLACES:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (f"{artifacts}/", len(old) + 2, len(old) + 1, f"{old}/"),
                )
        connection.commit()
    print(f"tracking: the project was moved; its runs now find their files in {artifacts}")


def _foreign_roots(connection: sqlite3.Connection, artifacts: Path) -> set[str]:
    """Folders `.../mlruns/artifacts` other than ours that experiments or runs point into."""
    mark = "/mlruns/artifacts/"
    rows = connection.execute(
        "SELECT artifact_location FROM experiments UNION SELECT DISTINCT artifact_uri FROM runs "
        "WHERE substr(artifact_uri, 1, ?) != ?",
        (len(str(artifacts)) + 1, f"{artifacts}/"),
    )
    places = [place for (place,) in rows if place and place.startswith("/") and mark in place]
    return {place[: place.index(mark) + len(mark) - 1] for place in places} - {str(artifacts)}


def _belongs_here(connection: sqlite3.Connection, old: str, artifacts: Path) -> bool:
    if not os.path.exists(old):
        return True
    rows = connection.execute("SELECT artifact_uri FROM runs WHERE substr(artifact_uri, 1, ?) = ?", (len(old), old))
    return any((artifacts / place[len(old) + 1 :]).exists() for (place,) in rows)
