"""Alembic migrations: numbered, frozen once released. The schema as it stands is in `store/schema`."""
