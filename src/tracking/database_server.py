"""Databases of a server, as PostgreSQL: the check that they let us in, and their first tables.

SQLite files are those of src/tracking/database.py.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from src.core.user_errors import UserError
from src.tracking.schema_version import compare_schema, newer_schema_error

if TYPE_CHECKING:
    from sqlalchemy import Connection

# of PostgreSQL's advisory locks, any number that no other program takes
_LOCK_KEY = 0x70616C696D707365
_CONNECT_SECONDS = 5
_DRIVERS_WITH_TIMEOUT = ("psycopg2", "psycopg", "pymysql", "mysqldb")
_INSTALL_NAMES = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary"}


def check_database_login(uri: str, other_store: str, offline: tuple[str, str]) -> None:
    """Log in to a database server once; MLflow would retry for two minutes, even with a wrong
    password.

    Args:
        other_store, offline: what else a user may do, for the message; offline only for a run.

    Raises:
        UserError: the address or the login is wrong, a driver is missing, or the database is one
            that MLflow cannot use.
    """
    import sqlalchemy

    user_error = functools.partial(UserError, key="tracking.uri", value=uri, colon=False)
    try:
        engine = sqlalchemy.create_engine(uri)
        timed = engine.dialect.driver in _DRIVERS_WITH_TIMEOUT
        options = {"connect_timeout": _CONNECT_SECONDS} if timed else {}
        engine = sqlalchemy.create_engine(uri, connect_args=options)
        with engine.connect() as connection:
            version = _read_schema_version(connection)
        engine.dispose()
    except ModuleNotFoundError as error:
        package = _INSTALL_NAMES.get(str(error.name), error.name)
        raise user_error(f"needs the package {error.name}: pip install {package}") from error
    except ValueError as error:
        # a wrong port; the error's own text may quote a part of the password
        raise user_error(
            "is no well-formed address",
            expected="postgresql://USER:PASSWORD@HOST:PORT/DATABASE, special characters of the "
            "password written as %40 for @, %3A for : and %2F for /",
        ) from error
    except TypeError as error:
        # psycopg gives the texts of a database without an encoding as bytes, which SQLAlchemy
        # cannot read
        raise user_error(
            "cannot be read: its encoding is SQL_ASCII, hence none",
            hint="make another: createdb --encoding=UTF8 --template=template0 NAME",
        ) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        cause = " ".join(str(getattr(error, "orig", None) or error).split())
        raise user_error(
            f"does not let us in ({cause})", hint=f"mend it, {other_store}", alternative=offline
        ) from error
    match compare_schema(version):
        case "newer":
            raise newer_schema_error(uri, version)
        case "older":
            raise user_error(
                "was written by an older MLflow",
                hint=f"have it copied, then: mlflow db upgrade {uri}",
            )


@contextmanager
def open_database_alone(uri: str) -> Iterator[None]:
    """Context manager in which no other process opens a database of PostgreSQL that has no tables
    yet, since MLflow would make them twice and fail. With other addresses it does nothing.
    """
    if not uri.startswith("postgresql"):
        yield
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    with engine.connect() as connection:
        if _read_schema_version(connection) is None:
            # it ends with the connection, whatever becomes of this process
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({_LOCK_KEY})"))
        yield


def _read_schema_version(connection: "Connection") -> str | None:
    """The version of MLflow's tables; None if there are none."""
    import sqlalchemy

    tables = sqlalchemy.inspect(connection)
    if not (tables.has_table("alembic_version") and tables.has_table("runs")):
        return None
    question = sqlalchemy.text("SELECT version_num FROM alembic_version")
    return connection.execute(question).scalar()
