"""Making and dropping databases on any server. What goes into them is the business of `store`."""

from collections.abc import Generator
from contextlib import contextmanager

from psycopg2 import errorcodes
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

_MADE_MEANWHILE = {errorcodes.DUPLICATE_DATABASE, errorcodes.UNIQUE_VIOLATION}


def create_database(admin_url: URL, name: str, *, template: str | None = None) -> bool:
    """Make a database unless it is there, also when others make it at the same time; True if this call made it."""
    with _administering(admin_url) as connection:
        if _exists(connection, name):
            return False
        # Files are copied faster than they are written anew through the log, which is what clones are made for.
        source = f" template {_quoted(template)} strategy file_copy" if template else ""
        try:
            _execute(connection, f"create database {_quoted(name)}{source}")
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) in _MADE_MEANWHILE and _exists(connection, name):
                return False
            raise
    return True


def drop_database(admin_url: URL, name: str) -> None:
    """Drop a database if it is there, ending the sessions that use it."""
    with _administering(admin_url) as connection:
        _execute(connection, f"drop database if exists {_quoted(name)} with (force)")


@contextmanager
def _administering(admin_url: URL) -> Generator[Connection]:
    # Neither statement may run inside a transaction.
    engine = create_engine(admin_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def _exists(connection: Connection, name: str) -> bool:
    found = connection.execute(text("select 1 from pg_database where datname = :name"), {"name": name})
    return found.first() is not None


def _execute(connection: Connection, statement: str) -> None:
    # Without parameters a percent sign in a name is just that.
    connection.execution_options(no_parameters=True).exec_driver_sql(statement)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
