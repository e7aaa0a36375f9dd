"""A database as an earlier version of the program left it, for tests of migrations that change data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine

from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store.migrate import MIGRATIONS


@contextmanager
def database_at(server: Path, revision: str) -> Iterator[Engine]:
    """Make a database with the schema of a revision, and remove it in the end."""
    admin, name = server_url(server, "postgres"), f"former_{uuid4().hex}"
    create_database(admin, name)
    engine = create_engine(server_url(server, name))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", MIGRATIONS)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    yield engine
    engine.dispose()
    drop_database(admin, name)
