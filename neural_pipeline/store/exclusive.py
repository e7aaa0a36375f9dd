"""Doing something in one process at a time, held by a lock of the database's that ends with whoever holds it."""

from collections.abc import Generator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from neural_pipeline.store.sql import scalar


class Taken(Exception):
    """Another process holds the lock."""


@contextmanager
def exclusively(engine: Engine, lock: str, **parameters: str) -> Generator[Connection]:
    """Hold an advisory lock meanwhile; `lock` is its SQL key. Raises Taken.

    The connection is for reads beside the work: each of its statements is a transaction of its own.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Out of the pool, so that closing it ends the lock, whatever has become of it by then.
        connection.detach()
        if not scalar(connection, f"select pg_try_advisory_lock({lock})", **parameters):
            raise Taken
        try:
            yield connection
        finally:
            # The server notices a closed connection only after a while. One that is gone must not hide why.
            with suppress(SQLAlchemyError):
                scalar(connection, f"select pg_advisory_unlock({lock})", **parameters)
