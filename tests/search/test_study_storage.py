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

from src.search import lock
from src.search.study import Storage
from src.terms.fault import Fault


def test_a_missing_database_is_made_whole_and_in_wal_mode(tmp_path: Path) -> None:
    storage = Storage(None, tmp_path / "mlruns")
    file = tmp_path / "mlruns" / "search.db"
    assert storage.address == f"sqlite:///{file}"
    assert {each.name for each in file.parent.iterdir()} <= {f"search.db{end}" for end in ("", "-wal", "-shm", ".lock")}
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with storage.rdb.engine.connect() as opened:
        assert opened.exec_driver_sql("PRAGMA synchronous").scalar() == 1  # NORMAL
        assert opened.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


def test_what_a_killed_creation_left_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "search.db.new").write_bytes(b"half of it")
    (tmp_path / "search.db.new-journal").write_bytes(b"and its journal")
    assert Storage(None, tmp_path).studies() == []


def test_an_address_is_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Storage("sqlite:///here.db", tmp_path / "elsewhere").address == f"sqlite:///{tmp_path / 'here.db'}"


def test_a_database_that_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"sweep=ID: no sweep has been kept yet in .*search\.db"):
        Storage(None, tmp_path, must_exist=True)
    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path, blank_database: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(blank_database.read_bytes())
    with pytest.raises(Fault, match=r"search\.storage: sqlite:.*mlflow\.db holds the tables of another program"):
        Storage(f"sqlite:///{file}", tmp_path)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'trials'").fetchone() == (0,)


def test_a_database_of_another_version_of_optuna_is_refused(tmp_path: Path) -> None:
    Storage(None, tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "search.db")) as connection:
        connection.execute("UPDATE version_info SET library_version = '99.0.0'")
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        connection.commit()
    with pytest.raises(Fault, match=r"search\.storage: .*no longer compatible"):
        Storage(None, tmp_path)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("mlruns/search.db", "cannot be opened: Could not parse"),
        ("oracle://host/name", "expected a database of SQLite, PostgreSQL or MySQL, found oracle"),
        ("nosuchthing://host/name", "found nosuchthing"),
        ("sqlite://", "expected SQLite to have a file"),
        ("sqlite:///:memory:", "expected SQLite to have a file"),
        ("postgresql+nosuchdriver://me:swordfish@host/name", "cannot be opened"),
        ("sqlite:////dev/null/search.db", "cannot be opened"),
    ],
)
def test_an_address_that_cannot_be_opened_is_one_fault(tmp_path: Path, address: str, found: str) -> None:
    with pytest.raises(Fault, match=r"^search\.storage: ") as raised:
        Storage(address, tmp_path)
    assert found in str(raised.value)
    assert "swordfish" not in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_that_is_no_database_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "search.db").write_text("this is a text, and long enough to be taken for something else " * 20)
    with pytest.raises(Fault, match=r"search\.storage: .*cannot be opened: file is not a database"):
        Storage(None, tmp_path)


def test_the_lock_may_be_taken_again_within_and_by_another_storage_of_the_same_process(tmp_path: Path) -> None:
    one, other = Storage(None, tmp_path), Storage(None, tmp_path)
    with one.lock(), one.lock(), other.lock():
        pass
    with other.lock():
        pass


def test_threads_of_one_process_wait_for_each_other(tmp_path: Path) -> None:
    storage = Storage(None, tmp_path)
    inside: list[str] = []

    def enter() -> None:
        with storage.lock():
            inside.append("thread")

    with storage.lock():
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(0.1)
        inside.append("first")
    thread.join(10)
    assert inside == ["first", "thread"]


HOLDER = """
import sys, time
from pathlib import Path
from src.search.study import Storage
with Storage(None, Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(120)
"""


def test_the_lock_keeps_others_out_and_goes_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(None, tmp_path)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, cwd=os.getcwd())
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with monkeypatch.context() as patch:
            patch.setattr(lock, "PATIENCE_SECONDS", 0.1)
            with (
                pytest.raises(Fault, match=r"search\.storage: another process has held .*search\.db\.lock"),
                storage.lock(),
            ):
                pass
    finally:
        holder.kill()
        holder.communicate()
    with storage.lock():
        pass


def test_the_room_is_entered_without_optuna() -> None:
    heavy = "optuna", "torch", "lightning", "mlflow", "matplotlib", "rich", "sqlalchemy"
    script = f"import sys, src.search.study, src.search.lock; print([each for each in {heavy} if each in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


class Server:
    """Stands for a connection to a server: remembers what it is asked, and gives the lock the second time."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.open = False

    def connect(self) -> "Server":
        return self

    def __enter__(self) -> "Server":
        self.open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def execute(self, question: Any, parameters: dict[str, Any]) -> "Server":
        self.asked.append((str(question), parameters))
        return self

    def scalar(self) -> bool:
        return len(self.asked) > 1


@pytest.mark.parametrize(
    ("address", "question"),
    [
        ("postgresql://me@host/first", "SELECT pg_try_advisory_lock(8097872805052314469)"),
        ("mysql://me@host/second", "SELECT GET_LOCK(:name, 0)"),
    ],
)
def test_a_server_is_asked_until_it_gives_the_lock(
    monkeypatch: pytest.MonkeyPatch, address: str, question: str
) -> None:
    import sqlalchemy

    server = Server()
    monkeypatch.setattr(sqlalchemy, "create_engine", lambda *_, **__: server)
    with lock._new(sqlalchemy.make_url(address)).held():
        assert server.open
    assert not server.open
    assert [asked for asked, _ in server.asked] == [question] * 2
    assert server.asked[0][1] == ({"name": "palimpsest.second"} if "mysql" in address else {})
