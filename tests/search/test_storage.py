"""The database of searches: where it is, what cannot be opened, and who has it."""

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from src.core.redaction import redact_text
from src.core.user_errors import UserError
from src.search import storage as lock
from src.search.sweep_study import SweepStorage


def test_a_missing_database_is_made_whole_and_in_wal_mode(tmp_path: Path) -> None:
    storage = SweepStorage(None, tmp_path / "mlruns")
    file = tmp_path / "mlruns" / "search.db"
    assert storage.address == f"sqlite:///{file}"
    assert {path.name for path in file.parent.iterdir()} <= {
        f"search.db{end}" for end in ("", "-wal", "-shm", ".lock")
    }
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with storage.rdb.engine.connect() as opened:
        # NORMAL
        assert opened.exec_driver_sql("PRAGMA synchronous").scalar() == 1
        assert opened.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


def test_what_a_killed_creation_left_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "search.db.partial").write_bytes(b"half of it")
    (tmp_path / "search.db.partial-journal").write_bytes(b"and its journal")
    assert SweepStorage(None, tmp_path).list_studies() == []


def test_an_address_is_the_same_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        SweepStorage("sqlite:///here.db", tmp_path / "elsewhere").address
        == f"sqlite:///{tmp_path / 'here.db'}"
    )


def test_a_database_that_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sweep=ID: no sweep has been kept yet in .*search\.db"):
        SweepStorage(None, tmp_path, must_exist=True)
    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_is_refused_and_left_alone(
    tmp_path: Path, blank_database: Path
) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(blank_database.read_bytes())
    with pytest.raises(
        UserError, match=r"search\.storage: sqlite:.*mlflow\.db holds the tables of another program"
    ):
        SweepStorage(f"sqlite:///{file}", tmp_path)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name = 'trials'"
        ).fetchone() == (0,)


def test_a_database_of_another_version_of_optuna_is_refused(tmp_path: Path) -> None:
    SweepStorage(None, tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "search.db")) as connection:
        connection.execute("UPDATE version_info SET library_version = '99.0.0'")
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        connection.commit()
    with pytest.raises(UserError, match=r"search\.storage: .*no longer compatible"):
        SweepStorage(None, tmp_path)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("mlruns/search.db", "cannot be opened: Could not parse"),
        ("oracle://host/name", "expected a database of SQLite or PostgreSQL, found oracle"),
        ("mysql://host/name", "expected a database of SQLite or PostgreSQL, found mysql"),
        ("nosuchthing://host/name", "found nosuchthing"),
        ("sqlite://", "expected SQLite to have a file"),
        ("sqlite:///:memory:", "expected SQLite to have a file"),
        ("postgresql+nosuchdriver://me:swordfish@host/name", "cannot be opened"),
        ("sqlite:////dev/null/search.db", "cannot be opened"),
    ],
)
def test_an_address_that_cannot_be_opened_is_one_fault(
    tmp_path: Path, address: str, found: str
) -> None:
    with pytest.raises(UserError, match=r"^search\.storage: ") as raised:
        SweepStorage(address, tmp_path)
    assert found in str(raised.value) and "\n" not in str(raised.value)
    # as it is printed
    assert "swordfish" not in redact_text(str(raised.value))


def test_a_file_that_is_no_database_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "search.db").write_text(
        "this is a text, and long enough to be taken for something else " * 20
    )
    with pytest.raises(
        UserError, match=r"search\.storage: .*cannot be opened: file is not a database"
    ):
        SweepStorage(None, tmp_path)


def test_the_lock_may_be_taken_again_within_and_by_another_storage_of_the_same_process(
    tmp_path: Path,
) -> None:
    one, other = SweepStorage(None, tmp_path), SweepStorage(None, tmp_path)
    with one.acquire_lock(), one.acquire_lock(), other.acquire_lock():
        pass
    with other.acquire_lock():
        pass


def test_threads_of_one_process_wait_for_each_other(tmp_path: Path) -> None:
    storage = SweepStorage(None, tmp_path)
    inside: list[str] = []

    def enter() -> None:
        with storage.acquire_lock():
            inside.append("thread")

    with storage.acquire_lock():
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(0.1)
        inside.append("first")
    thread.join(10)
    assert inside == ["first", "thread"]


HOLDER = """
import sys, time
from pathlib import Path
from src.search.sweep_study import SweepStorage
with SweepStorage(None, Path(sys.argv[1])).acquire_lock():
    print("held", flush=True)
    time.sleep(120)
"""


def test_the_lock_keeps_others_out_and_goes_with_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = SweepStorage(None, tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with monkeypatch.context() as patch:
            patch.setattr(lock, "LOCK_TIMEOUT_SECONDS", 0.1)
            with (
                pytest.raises(
                    UserError, match=r"search\.storage: another process has held .*search\.db\.lock"
                ),
                storage.acquire_lock(),
            ):
                pass
    finally:
        holder.kill()
        holder.communicate()
    with storage.acquire_lock():
        pass


def test_the_room_is_entered_without_optuna() -> None:
    heavy = "optuna", "torch", "lightning", "mlflow", "matplotlib", "rich", "sqlalchemy"
    script = (
        f"import sys, src.search.sweep_study; print([name for name in {heavy} if name in "
        "sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"


class Server:
    """Stands for a connection to a server: remembers what it is asked, and gives the lock the
    second time.
    """

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.open = False

    def connect(self) -> "Server":
        return self

    def __enter__(self) -> "Server":
        self.open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def execute(self, question: Any) -> "Server":
        self.questions.append(str(question))
        return self

    def scalar(self) -> bool:
        return len(self.questions) > 1


def test_a_server_is_asked_until_it_gives_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy

    server = Server()
    monkeypatch.setattr(sqlalchemy, "create_engine", lambda *_, **__: server)
    url = sqlalchemy.make_url("postgresql://me@host/first")
    with lock.get_storage_lock(url).acquire():
        assert server.open
    assert not server.open
    assert server.questions == ["SELECT pg_try_advisory_lock(8097872805052314469)"] * 2
