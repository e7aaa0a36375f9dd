"""Alembic's entry point: runs migrations on the connection that `store.migrate` hands over, or on the settings' own."""

from alembic import context
from sqlalchemy import Connection, create_engine

from neural_pipeline.postgres.target import resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.revision import VERSION_TABLE


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    _migrate(handed_over)
else:
    with create_engine(resolve_database(Settings.load()).url).begin() as own:
        _migrate(own)
