"""A real PostgreSQL server, for tests and benchmarks of stores that many share."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from src.tracking.ui_server import find_free_port

# where Debian keeps the programs that are not for every user
_DEBIAN_FOLDERS = "/usr/lib/postgresql"


def find_postgres() -> Path | None:
    """The folder of initdb and pg_ctl; None where PostgreSQL is not installed."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    return max(Path(_DEBIAN_FOLDERS).glob("*/bin"), default=None)


class PostgresServer:
    """PostgreSQL on a free port of the loopback; one user and no password.

    It refuses to run as root, so there its files and processes belong to the user `postgres`.
    """

    def __init__(self) -> None:
        programs = find_postgres()
        assert programs is not None, "PostgreSQL is not installed"
        self._programs = programs
        self._owner = "postgres" if os.geteuid() == 0 else None
        # not below a folder that its user may not enter
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = find_free_port(5440)
        if self._owner is not None:
            shutil.chown(self._folder, self._owner)
        self._call("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")

    def address(self, database: str) -> str:
        """The address of a database, as SQLAlchemy takes it."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self._folder}"
        log = str(self._folder / "log.txt")
        self._call("pg_ctl", "-o", options, "-l", log, "-w", "start")

    def create_database(self, name: str, encoding: str = "UTF8") -> str:
        """Returns its address."""
        place = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        self._call("createdb", *place, "-E", encoding, "-T", "template0", name)
        return self.address(name)

    def stop(self, mode: str = "fast") -> None:
        """`fast` tells its connections that it ends, `immediate` is a crash."""
        self._call("pg_ctl", "-m", mode, "-w", "stop", check=False)

    def remove(self) -> None:
        """End it and delete its files."""
        self.stop("immediate")
        shutil.rmtree(self._folder)

    def _call(self, program: str, *arguments: str, check: bool = True) -> None:
        command: Sequence[str] = [str(self._programs / program), *arguments]
        environment = os.environ | {"PGDATA": str(self._folder), "LC_ALL": "C"}
        # not a pipe, which the server would keep open
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command,
                env=environment,
                user=self._owner,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            output.seek(0)
            if check and done.returncode:
                raise RuntimeError(f"{program}: {output.read()}")
