"""Optuna's database of all sweeps: its lock, how it is created and opened, and what is read of it.

Optuna checks and writes in one transaction, but with SQLite and Python's driver such transactions
of two processes may interleave: both could find the same trial waiting and both begin it. So all
processes of a sweep take one lock around what they read and then write.

Importing this module imports everything that opening a storage needs. The process from which trials
are forked imports it once for all of them.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from copy import copy
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any

import alembic.migration  # noqa: F401 - Optuna imports it when it opens
import optuna
import sqlalchemy
import sqlalchemy.dialects.sqlite
import sqlalchemy.orm
from filelock import FileLock, Timeout
from optuna.storages import RDBStorage, _CachedStorage
from optuna.storages._rdb.models import BaseModel
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from src.core.files import atomic_write
from src.core.sqlite_settings import (
    NORMAL_SYNCHRONOUS,
    UNSYNCED_DRAFT,
    set_connection_pragmas,
)
from src.core.user_errors import UserError

# The lock is held for milliseconds; a process that holds it for minutes is stopped (Ctrl-Z) or
# stuck.
LOCK_TIMEOUT_SECONDS = 120.0
_LOCK_POLL_SECONDS = 0.01
# "palimpse" as the 64-bit number that PostgreSQL wants, the same in every process.
_ADVISORY_LOCK_KEY = 0x70616C696D707365
SQLITE_BUSY_TIMEOUT_SECONDS = 60
# What a storage that has been opened may raise when its database does not answer.
STORAGE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)
# The user attribute of a trial that lists the validations whose reports do not count.
_FORGOTTEN = "forgotten_validations"

# SQLAlchemy would do this at the first opening.
sqlalchemy.orm.configure_mappers()


class StorageLock:
    """A lock among all processes that use a storage and among the threads of each.

    A thread that holds it may take it again. It is released when its process ends, however it ends.

    Args:
        connect: a context manager that yields `try_lock() -> bool`; leaving it releases the lock.
        description: the lock in an error message.
    """

    def __init__(
        self, connect: Callable[[], AbstractContextManager[Callable[[], bool]]], description: str
    ) -> None:
        self._connect, self._description = connect, description
        self._thread_lock = RLock()
        self._depth = 0

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Hold the lock; UserError if others hold it for longer than `LOCK_TIMEOUT_SECONDS`."""
        with self._thread_lock, nullcontext() if self._depth else self._acquire_process_lock():
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    @contextmanager
    def _acquire_process_lock(self) -> Iterator[None]:
        with self._connect() as try_lock:
            give_up_at = time.monotonic() + LOCK_TIMEOUT_SECONDS
            while not try_lock():
                if time.monotonic() > give_up_at:
                    raise UserError(
                        f"search.storage: another process has held {self._description} for more "
                        f"than {LOCK_TIMEOUT_SECONDS:.0f} s; is one stopped or stuck? It is free "
                        "as soon as that process ends"
                    )
                time.sleep(_LOCK_POLL_SECONDS)
            yield


@cache
def get_storage_lock(url: sqlalchemy.URL) -> StorageLock:
    """The lock of a storage, one object in this process: two of them would wait for each other."""
    backend = url.get_backend_name()
    if backend == "sqlite":
        path = Path(f"{url.database}.lock")
        return StorageLock(lambda: _connect_file_lock(path), str(path))
    if backend == "postgresql":
        return StorageLock(lambda: _connect_advisory_lock(url), "the server's lock of searches")
    raise UserError(
        f"search.storage: expected a database of SQLite or PostgreSQL, found {backend}; null keeps "
        "searches in mlruns/search.db"
    )


@contextmanager
def _connect_file_lock(path: Path) -> Iterator[Callable[[], bool]]:
    lock = FileLock(path, thread_local=False)

    def try_lock() -> bool:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        return True

    try:
        yield try_lock
    finally:
        lock.release()


@contextmanager
def _connect_advisory_lock(url: sqlalchemy.URL) -> Iterator[Callable[[], bool]]:
    """PostgreSQL's own lock of each database. It belongs to a connection and ends with it, so the
    connection is taken from no pool.
    """
    engine = sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.pool.NullPool, isolation_level="AUTOCOMMIT"
    )
    question = sqlalchemy.text(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK_KEY})")
    with engine.connect() as connection:
        yield lambda: bool(connection.execute(question).scalar())


class TrialStorage(_CachedStorage):
    """Optuna's cached storage, which reads a trial that has ended only once, without forgotten
    reports.

    A trial that was interrupted goes on from its last checkpoint, or from its beginning, and
    repeats validations that it has reported before. Pruners and samplers take the report of the
    highest validation for the newest, so they must not see those that are yet to be repeated.
    Optuna cannot delete a report; an attribute of the trial lists those that do not count.
    """

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        # By the id of a trial that has reported in this process.
        self._forgotten_validations: dict[int, set[int]] = {}

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Report a value. If it is the first report of this process, later ones are forgotten."""
        known = self._forgotten_validations.get(trial_id)
        if known is None:
            trial = self.get_trial(trial_id)
            known = set(trial.user_attrs.get(_FORGOTTEN, ()))
            later = {validation for validation in trial.intermediate_values if validation > step}
        else:
            later = set()
        forgotten = (known | later) - {step}
        if forgotten != known:
            self.set_trial_user_attr(trial_id, _FORGOTTEN, sorted(forgotten))
        self._forgotten_validations[trial_id] = forgotten
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return _without_forgotten_reports(super().get_trial(trial_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = super().get_all_trials(study_id, deepcopy=deepcopy, states=states)
        return [_without_forgotten_reports(trial) for trial in trials]


def _without_forgotten_reports(trial: FrozenTrial) -> FrozenTrial:
    forgotten = trial.user_attrs.get(_FORGOTTEN)
    if not forgotten:
        return trial
    trial = copy(trial)  # the cache keeps the original
    trial.intermediate_values = {
        validation: value
        for validation, value in trial.intermediate_values.items()
        if validation not in forgotten
    }
    return trial


def open_storage(address: str, *, must_exist: bool = False) -> tuple[RDBStorage, StorageLock, str]:
    """Open the storage at an address, creating its database and tables where they are missing.

    Args:
        address: a URL of SQLAlchemy's.
        must_exist: a missing SQLite file is the user's error and is not created.

    Returns:
        The storage, its lock, and its address as a process in any other folder may use it.

    Raises:
        UserError: it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _explain_failures(address):
        url = _resolve_url(sqlalchemy.make_url(address))
        lock = get_storage_lock(url)
        if url.get_backend_name() == "sqlite":
            file = Path(str(url.database))
            if must_exist and not file.exists():
                where = "tracking.root and search.storage say where"
                raise UserError(f"sweep=ID: no sweep has been kept yet in {file} ({where})")
            set_connection_pragmas(file, NORMAL_SYNCHRONOUS)
            _create_sqlite_file(file, lock)
        is_current = _has_current_schema(url, lock)
        storage = _connect_storage(url, has_tables=True, is_current_schema=is_current)
        return storage, lock, _render_url(url)


def _resolve_url(url: sqlalchemy.URL) -> sqlalchemy.URL:
    """The URL with an absolute path. UserError for a SQLite database that lies in no file."""
    if url.get_backend_name() != "sqlite":
        return url
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise UserError(
            "search.storage: expected SQLite to have a file that every trial can open, "
            f"sqlite:///mlruns/search.db, found {url}"
        )
    return url.set(database=os.path.abspath(url.database))


def _render_url(url: sqlalchemy.URL) -> str:
    return url.render_as_string(hide_password=False)


def _connect_storage(
    url: sqlalchemy.URL, *, has_tables: bool = False, is_current_schema: bool = False
) -> RDBStorage:
    """Optuna's storage; it creates and compares the tables unless told that they are right."""
    is_sqlite = url.get_backend_name() == "sqlite"
    engine_arguments: dict[str, Any] = (
        {"connect_args": {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}}
        if is_sqlite
        else {"pool_pre_ping": True}
    )
    # Optuna fills the version of its schema into braces.
    template = _render_url(url).replace("{", "{{").replace("}", "}}")
    return RDBStorage(
        template,
        engine_arguments,
        skip_table_creation=has_tables,
        skip_compatibility_check=is_current_schema,
    )


def _create_sqlite_file(file: Path, lock: StorageLock) -> None:
    """Create a SQLite file in WAL mode. It is built under another name and renamed at the end, so a
    file of this name is always complete.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and _execute_pragma(file, "PRAGMA journal_mode") == "wal":
        return
    with lock.acquire():
        if not file.exists():
            with atomic_write(file, fsync=True) as draft:
                for leftover in file.parent.glob(f"{draft.name}*"):
                    leftover.unlink()
                set_connection_pragmas(draft, *UNSYNCED_DRAFT)
                url = sqlalchemy.URL.create("sqlite", database=str(draft))
                _connect_storage(url).engine.dispose()
                _execute_pragma(draft, "PRAGMA journal_mode=WAL")
        elif _execute_pragma(file, "PRAGMA journal_mode") != "wal":
            # Another program has created the file.
            _execute_pragma(file, "PRAGMA journal_mode=WAL")


def _execute_pragma(file: Path, pragma: str) -> str:
    with closing(sqlite3.connect(file, timeout=SQLITE_BUSY_TIMEOUT_SECONDS)) as connection:
        return str(connection.execute(pragma).fetchone()[0])


def _has_current_schema(url: sqlalchemy.URL, lock: StorageLock) -> bool:
    """Create missing tables; return whether this version of Optuna has created the tables.

    If so, Optuna need not compare its schema with theirs. It would read every migration that it
    ever had for that, which takes most of the time of opening a storage.
    """
    engine = sqlalchemy.create_engine(url)
    try:
        if not _has_all_tables(engine):
            with lock.acquire():
                if not _has_all_tables(engine):
                    _connect_storage(url).engine.dispose()
        with engine.connect() as connection:
            version = connection.execute(
                sqlalchemy.text("SELECT library_version FROM version_info")
            ).scalar()
        return bool(version == optuna.__version__)
    finally:
        engine.dispose()


def _has_all_tables(engine: sqlalchemy.Engine) -> bool:
    """UserError for the database of another program."""
    tables = set(sqlalchemy.inspect(engine).get_table_names())
    if "alembic_version" in tables and "studies" not in tables:
        raise UserError(
            f"search.storage: {engine.url} holds the tables of another program, "
            "MLflow's maybe; name a database for searches alone, or null for mlruns/search.db"
        )
    # Optuna makes the last of these by itself, when the others may be seen already
    return {*BaseModel.metadata.tables, "alembic_version"} <= tables


@contextmanager
def _explain_failures(address: str) -> Iterator[None]:
    """Turn whatever keeps a storage from being opened into one UserError."""
    try:
        yield
    except (
        SQLAlchemyError,
        sqlite3.Error,
        optuna.exceptions.OptunaError,
        ImportError,
        OSError,
        RuntimeError,
    ) as error:
        hint = (
            "expected sqlite:///FILE, postgresql://USER@HOST/DATABASE, or null for mlruns/search.db"
        )
        if isinstance(error, ModuleNotFoundError) and error.name:
            hint = f"it needs a package that is not installed: pip install {error.name}"
        elif "not a database" in str(error) or "malformed" in str(error):
            hint = (
                "the file is damaged: put a copy in its place, or move it away (the runs "
                "stand in MLflow all the same)"
            )
        raise UserError(
            f"search.storage: {address} cannot be opened: {_database_message(error)}; {hint}"
        ) from error


def _database_message(error: BaseException) -> str:
    """The first line of the database's own message, which Optuna hides as the cause of its own."""
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
    return next(iter(str(cause or error).strip().splitlines()), type(error).__name__)
