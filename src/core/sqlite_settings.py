"""Settings of SQLite that hold for a connection and not for the file."""

import functools
import os
import sqlite3
from pathlib import Path
from typing import Any

# In WAL mode that is safe against crashes and four times faster.
NORMAL_SYNCHRONOUS = "synchronous=NORMAL"
# For a file that is created under another name and synced once: else each table that is made waits
# for the disk, which takes seconds.
UNSYNCED_DRAFT = ("synchronous=OFF", "journal_mode=MEMORY")


@functools.cache
def set_connection_pragmas(database: Path, *settings: str) -> None:
    """Have every connection of SQLAlchemy's that this process opens to a file begin with these
    settings. Other databases are left as they are.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def apply_settings(connection: Any, _: Any) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        file = connection.execute("PRAGMA database_list").fetchone()[2]
        if file and os.path.realpath(file) == os.path.realpath(database):
            for setting in settings:
                connection.execute(f"PRAGMA {setting}")
