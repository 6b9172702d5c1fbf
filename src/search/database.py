"""Optuna's database: made once however many processes ask for it, and opened in milliseconds.

Whoever imports this file has paid what the first opening would: a process that is copied for each trial does so once.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import alembic.migration  # noqa: F401 - Optuna imports it when it opens
import optuna
import sqlalchemy
import sqlalchemy.dialects.sqlite
import sqlalchemy.orm
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from src.search.lock import Lock, lock_of
from src.terms.fault import Fault
from src.tracking.redaction import hidden

BUSY_SECONDS = 60
FAILURES = (SQLAlchemyError, optuna.exceptions.StorageInternalError)  # of a storage that is open already
sqlalchemy.orm.configure_mappers()


def opened(address: str, *, must_exist: bool = False) -> tuple[RDBStorage, Lock, str]:
    """The storage at an address, its lock, and the address as another process of another folder may use it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _explained(address):
        url = _whole(sqlalchemy.make_url(address))
        lock = lock_of(url)
        if url.get_backend_name() == "sqlite":
            if must_exist and not os.path.exists(str(url.database)):
                where = "tracking.root and search.storage say where"
                raise Fault(f"sweep=ID: no sweep has been kept yet in {url.database} ({where})")
            _make_file(Path(str(url.database)), lock)
        known = _is_known(url, lock)
        return _storage(url, whole=True, known=known), lock, _text(url)


def _whole(url: sqlalchemy.URL) -> sqlalchemy.URL:
    if url.get_backend_name() != "sqlite":
        return url
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise Fault(
            f"search.storage: expected SQLite to have a file that every trial can open, sqlite:///mlruns/search.db, "
            f"found {hidden(str(url))}"
        )
    return url.set(database=os.path.abspath(url.database))


def _text(url: sqlalchemy.URL) -> str:
    return url.render_as_string(hide_password=False)


def _storage(url: sqlalchemy.URL, *, whole: bool = False, known: bool = False) -> RDBStorage:
    local = url.get_backend_name() == "sqlite"
    engine: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}} if local else {"pool_pre_ping": True}
    template = _text(url).replace("{", "{{").replace("}", "}}")  # Optuna fills its schema's version into braces
    storage = RDBStorage(template, engine, skip_table_creation=whole, skip_compatibility_check=known)
    if local:
        storage.engine.dispose()  # connections that were opened before the next line
        sqlalchemy.event.listen(storage.engine, "connect", _write_lightly)
    return storage


def _write_lightly(connection: Any, _: Any) -> None:
    """In WAL mode safe against crashes of programs, and several times faster; it belongs to a connection."""
    connection.execute("PRAGMA synchronous=NORMAL")


def _make_file(file: Path, lock: Lock) -> None:
    """A SQLite file built beside and renamed at the end, so one of that name is always whole; in WAL mode."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and _mode(file, "PRAGMA journal_mode") == "wal":
        return
    with lock.held():
        if not file.exists():
            draft = file.with_name(f"{file.name}.new")
            for leftover in file.parent.glob(f"{draft.name}*"):
                leftover.unlink()
            _storage(sqlalchemy.URL.create("sqlite", database=str(draft))).engine.dispose()
            _mode(draft, "PRAGMA journal_mode=WAL")
            os.replace(draft, file)
        elif _mode(file, "PRAGMA journal_mode") != "wal":  # made by other programs
            _mode(file, "PRAGMA journal_mode=WAL")


def _mode(file: Path, pragma: str) -> str:
    with closing(sqlite3.connect(file, timeout=BUSY_SECONDS)) as connection:
        return str(connection.execute(pragma).fetchone()[0])


def _is_known(url: sqlalchemy.URL, lock: Lock) -> bool:
    """Whether this Optuna made the tables, which then need no comparison; missing ones are made.

    Optuna compares by reading every migration that it ever had: most of the time that opening takes.
    """
    engine = sqlalchemy.create_engine(url)
    try:
        if not _is_complete(engine):
            with lock.held():
                if not _is_complete(engine):
                    _storage(url).engine.dispose()
        with engine.connect() as connection:
            made_by = connection.execute(sqlalchemy.text("SELECT library_version FROM version_info")).scalar()
        return bool(made_by == optuna.__version__)
    finally:
        engine.dispose()


def _is_complete(engine: sqlalchemy.Engine) -> bool:
    tables = set(sqlalchemy.inspect(engine).get_table_names())
    if "alembic_version" in tables and "studies" not in tables:
        raise Fault(
            f"search.storage: {hidden(str(engine.url))} holds the tables of another program, MLflow's maybe; "
            "name a database for searches alone, or null for mlruns/search.db"
        )
    return set(BaseModel.metadata.tables) <= tables


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Whatever keeps an address from being opened, as one message without its password."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, optuna.exceptions.OptunaError, ImportError, OSError, RuntimeError) as error:
        hint = "expected sqlite:///FILE, postgresql://USER@HOST/DATABASE, mysql://..., or null for mlruns/search.db"
        if isinstance(error, ModuleNotFoundError) and error.name:
            hint = f"it needs a package that is not installed: pip install {error.name}"
        elif "not a database" in str(error) or "malformed" in str(error):
            hint = (
                "the file is damaged: put a copy in its place, or move it away (the runs stand in MLflow all the same)"
            )
        raise Fault(
            f"search.storage: {hidden(address)} cannot be opened: {hidden(_first_line(error))}; {hint}"
        ) from error


def _first_line(error: BaseException) -> str:
    """Optuna hides the database's own words behind "an exception is raised during the commit"."""
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
    return next(iter(str(cause or error).strip().splitlines()), type(error).__name__)
