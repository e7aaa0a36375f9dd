"""The engine: one per process and URL, made on first use. What is in the database stands in the sibling modules."""

from functools import lru_cache

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry


@lru_cache(maxsize=8)
def _engine(url: str) -> Engine:
    engine = create_engine(url, pool_size=2, max_overflow=6, pool_pre_ping=True, hide_parameters=True)
    event.listen(engine, "connect", _speak_utc)
    return engine


def engine_for(url: URL | str) -> Engine:
    """Return this process's engine for a database; parameters never appear in its errors."""
    return _engine(make_url(url).render_as_string(hide_password=False))


def _speak_utc(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("set timezone to 'UTC'; set application_name to 'neural_pipeline'")
    cursor.close()
    connection.commit()
