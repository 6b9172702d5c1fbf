"""The version of a store's tables against that of the installed MLflow.

MLflow brings an older store to its own version merely by opening it, after which the MLflow that
wrote it refuses it. So the two are compared before MLflow is asked, and a file is copied before it
is changed. MLflow itself is imported only for a change.
"""

import functools
import importlib.metadata
import importlib.util
import logging
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

from src.core.files import atomic_write
from src.core.printing import print_line
from src.core.user_errors import UserError

_REVISION = re.compile(r"^(down_revision|revision)\s*(?::.*)?=\s*[\"'](\w+)[\"']", re.MULTILINE)


def update_schema(database: Path) -> None:
    """Have a SQLite file of an older MLflow brought to the installed one, with a copy beside it.

    The caller holds the lock that keeps other processes from doing the same.

    Raises:
        UserError: the file is of a newer MLflow, or of another program.
        sqlite3.DatabaseError: the file is no database.
    """
    found = _read_version(database)
    match compare_schema(found):
        case "same":
            return
        case "newer":
            raise newer_schema_error(str(database), found)
    copy = _copy_database(database)
    print_line(
        f"tracking: {database} was written by an older MLflow; it is changed to what MLflow "
        f"{_installed_version()} reads, and {copy} is a copy of it as it was"
    )
    try:
        _upgrade(f"sqlite:///{database}")
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{database} cannot be changed to what MLflow {_installed_version()} reads ({reason}); "
            f"as it was it lies in {copy}"
        ) from error


def needs_update(database: Path) -> bool:
    """Say whether `update_schema` has anything to do or to refuse."""
    return compare_schema(_read_version(database)) != "same"


def compare_schema(version: str | None) -> Literal["older", "same", "newer"]:
    """Compare a store's version (`alembic_version.version_num`) with that of the installed MLflow.

    One that the installed MLflow does not know is newer. None stands for a store without tables,
    which MLflow creates.
    """
    known = _read_revisions()
    if version is None or not known:
        return "same"
    if version not in known:
        return "newer"
    return "older" if version in known.values() else "same"


def newer_schema_error(store: str, version: str | None) -> UserError:
    """Return the message about a store that the installed MLflow cannot read."""
    return UserError(
        f"was last opened by a newer MLflow than the one installed, {_installed_version()} "
        f"(version of its tables: {version})",
        key="tracking.uri",
        where=store,
        hint='pip install --upgrade "mlflow<4", or bring back a copy from before; or keep runs in '
        "another store: {key}=sqlite:///mlruns/new.db",
        colon=False,
    )


def _read_version(database: Path) -> str | None:
    """Return the version of a file's tables; None for a file without any.

    Raises UserError for a database of another program.
    """
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {name for (name,) in rows}
        if tables and not {"alembic_version", "experiments", "runs"} <= tables:
            raise UserError(
                f"{database} is the database of another program; name a file of its own for the "
                "runs"
            )
        if not tables:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


@functools.cache
def _read_revisions() -> dict[str, str]:
    """Return the versions of tables that the installed MLflow knows, each with the one before."""
    spec = importlib.util.find_spec("mlflow")
    revisions: dict[str, str] = {}
    for package in (spec and spec.submodule_search_locations) or ():
        for file in Path(package, "store", "db_migrations", "versions").glob("*.py"):
            found = dict(_REVISION.findall(file.read_text(encoding="utf-8")))
            if "revision" in found:
                revisions[found["revision"]] = found.get("down_revision", "")
    return revisions


def _copy_database(database: Path) -> Path:
    """Copy a database, beside it, under a name that says before which MLflow it was made."""
    name = f"{database.stem}.before-mlflow-{_installed_version()}"
    numbers = ("", *(f".{number}" for number in range(2, 1000)))
    names = (database.with_name(f"{name}{number}{database.suffix}") for number in numbers)
    copy = next(path for path in names if not path.exists())
    try:
        with (
            atomic_write(copy, fsync=True) as partial,
            closing(sqlite3.connect(database, timeout=20)) as source,
            closing(sqlite3.connect(partial)) as target,
        ):
            source.backup(target)
    except (OSError, sqlite3.OperationalError) as error:
        raise UserError(
            f"{database} was written by an older MLflow, and no copy of it can be written to "
            f"{copy} ({error})"
        ) from error
    return copy


def _upgrade(uri: str) -> None:
    """Do what `mlflow db upgrade` does, without its log."""
    from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine

    logger = logging.getLogger("mlflow.store.db.utils")
    level = logger.level
    logger.setLevel(logging.WARNING)
    engine = create_sqlalchemy_engine(uri)  # type: ignore[no-untyped-call,unused-ignore]
    try:
        _upgrade_db(engine)  # type: ignore[no-untyped-call,unused-ignore]
    finally:
        engine.dispose()
        logger.setLevel(level)


def _installed_version() -> str:
    return importlib.metadata.version("mlflow")
