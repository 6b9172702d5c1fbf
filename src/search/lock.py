"""One holder at a time among all processes of a search: what was read under the lock is still true when it is written.

Optuna's storage checks and writes in one transaction, which SQLite, as Python's driver drives it, does not keep apart
from those of others: two processes could both find a trial waiting and both begin it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from src.terms.fault import Fault

if TYPE_CHECKING:
    from sqlalchemy import URL

PATIENCE_SECONDS = 120.0  # it is held for milliseconds; who holds it for minutes is stopped (Ctrl-Z) or stuck
_PAUSE_SECONDS = 0.01
_KEY = 0x70616C696D707365  # "palimpse": PostgreSQL wants a whole number of 64 bits, the same in every process

Door = Callable[[], AbstractContextManager[Callable[[], bool]]]
_LOCKS: dict[str, "Lock"] = {}


class Lock:
    """Exclusive among processes and among the threads of each, reentrant within a thread, gone with its process.

    Args:
        door: opened for each holding; what it gives tries once and says whether the lock is had; closing gives it back.
        words: what it is, for a message.
    """

    def __init__(self, door: Door, words: str) -> None:
        self._door, self._words = door, words
        self._threads = RLock()
        self._depth = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._threads, nullcontext() if self._depth else self._taken():
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    @contextmanager
    def _taken(self) -> Iterator[None]:
        with self._door() as attempt:
            until = time.monotonic() + PATIENCE_SECONDS
            while not attempt():
                if time.monotonic() > until:
                    raise Fault(
                        f"search.storage: another process has held {self._words} for more than "
                        f"{PATIENCE_SECONDS:.0f} s; is one stopped or stuck? It is free as soon as that process ends"
                    )
                time.sleep(_PAUSE_SECONDS)
            yield


def lock_of(url: "URL") -> Lock:
    """The one lock of a storage in this process: two of them would wait for each other."""
    key = url.render_as_string(hide_password=False)
    if key not in _LOCKS:
        _LOCKS[key] = _new(url)
    return _LOCKS[key]


def _new(url: "URL") -> Lock:
    database = str(url.database)
    match url.get_backend_name():
        case "sqlite":
            path = Path(f"{database}.lock")
            return Lock(lambda: _of_file(path), str(path))
        case "postgresql":  # its locks are each database's own
            return Lock(
                lambda: _of_server(url, f"SELECT pg_try_advisory_lock({_KEY})"), "the server's lock of searches"
            )
        case "mysql":  # its locks are the whole server's
            name = f"palimpsest.{database}"[:64]
            return Lock(lambda: _of_server(url, "SELECT GET_LOCK(:name, 0)", name=name), f"the server's lock '{name}'")
        case other:
            raise Fault(
                f"search.storage: expected a database of SQLite, PostgreSQL or MySQL, found {other}; "
                "null keeps searches in mlruns/search.db"
            )


@contextmanager
def _of_file(path: Path) -> Iterator[Callable[[], bool]]:
    lock = FileLock(path, thread_local=False)

    def attempt() -> bool:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        return True

    try:
        yield attempt
    finally:
        lock.release()


@contextmanager
def _of_server(url: "URL", question: str, **parameters: str) -> Iterator[Callable[[], bool]]:
    """A lock of the server's that belongs to a connection and goes with it, hence one of its own, kept in no pool."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield lambda: bool(connection.execute(text(question), parameters).scalar())
