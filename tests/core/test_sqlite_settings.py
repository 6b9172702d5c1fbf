"""Settings of SQLite's connections: for the file that they are meant for, and for no other."""

from pathlib import Path

import sqlalchemy

from src.core.sqlite_settings import UNSYNCED_DRAFT, set_connection_pragmas


def _read_settings(file: Path) -> tuple[object, object]:
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    try:
        with engine.connect() as connection:
            synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()
            return synchronous, connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    finally:
        engine.dispose()


def test_a_draft_waits_for_no_disk_and_other_files_do(tmp_path: Path) -> None:
    draft = tmp_path / "draft.db"
    set_connection_pragmas(draft, *UNSYNCED_DRAFT)
    # OFF
    assert _read_settings(draft) == (0, "memory")
    # FULL
    assert _read_settings(tmp_path / "other.db") == (2, "delete")


def test_settings_hold_for_the_file_under_any_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    set_connection_pragmas(tmp_path / "named.db", *UNSYNCED_DRAFT)
    assert _read_settings(tmp_path / "link" / "named.db") == (0, "memory")
