"""The engine: one per process and URL, made on first use. What is in the database stands in the sibling modules."""

from functools import lru_cache

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from neural_pipeline.store.sql import read_json, scalar

KEEPALIVE: dict[str, int] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""libpq's: a server whose host has gone is noticed within half a minute."""

_INTRODUCTION = """
set timezone to 'UTC';
set application_name to 'neural_pipeline';
set idle_in_transaction_session_timeout to '60s';
set tcp_keepalives_idle to 10;
set tcp_keepalives_interval to 5;
set tcp_keepalives_count to 3;
"""
"""What a worker held when it stopped in the middle of a transaction, or its host went away, is free a minute later."""


@lru_cache(maxsize=8)
def _engine(url: str) -> Engine:
    engine = create_engine(
        url,
        pool_size=2,
        max_overflow=6,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=KEEPALIVE,
        json_deserializer=read_json,
    )
    event.listen(engine, "connect", _introduce)
    return engine


def engine_for(url: URL | str) -> Engine:
    """Return this process's engine for a database; parameters never appear in its errors."""
    return _engine(make_url(url).render_as_string(hide_password=False))


def wait_briefly(connection: Connection) -> None:
    """Have every wait for a lock end with an error after ten seconds, until the end of the transaction."""
    scalar(connection, "select set_config('lock_timeout', '10s', true)")


def _introduce(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(_INTRODUCTION)
    cursor.close()
    connection.commit()
