"""Which schema a database has, and which one this program is written for. Changing it is `migrate`."""

from sqlalchemy import Connection

from neural_pipeline.store.sql import scalar

SCHEMA_REVISION = "0005"
"""The revision this program is written for."""

VERSION_TABLE = "neural_alembic_version"


def current_revision(connection: Connection) -> str | None:
    """Return the revision a database is at, None before the first migration."""
    if scalar(connection, "select to_regclass(:name)", name=VERSION_TABLE) is None:
        return None
    return scalar(connection, f"select version_num from {VERSION_TABLE}")  # noqa: S608 - a constant
