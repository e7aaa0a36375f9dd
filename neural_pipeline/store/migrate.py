"""Bringing a database to this program's schema: migrations, then views. One at a time, and never under open batches."""

import re
import time
from graphlib import TopologicalSorter
from hashlib import sha256
from importlib.resources import files

from sqlalchemy import Connection, Engine

from neural_pipeline.store.batches import running_batches
from neural_pipeline.store.revision import SCHEMA_REVISION, current_revision
from neural_pipeline.store.sql import rows, run, scalar

MIGRATIONS = "neural_pipeline:store/migrations"
_VIEWS = (files("neural_pipeline") / "store" / "audits", files("neural_pipeline") / "metrics" / "views")


class BatchesStillOpen(Exception):
    """Runs are still working on batches: let them finish, then upgrade again."""


class SchemaFromTheFuture(Exception):
    """The database has a schema this program does not know: use the newer program."""


def upgrade(engine: Engine, *, wait_seconds: float = 60.0) -> bool:
    """Bring the database up to date; return False if it was already. Safe to call from several processes at once."""
    deadline = time.monotonic() + wait_seconds
    while True:
        with engine.begin() as connection:
            scalar(connection, "select pg_advisory_xact_lock(hashtext('neural.upgrade'))")
            before = current_revision(connection)
            if before not in (None, SCHEMA_REVISION):
                # No run takes a batch between the count and the migration.
                run(connection, "lock table event_batches in share row exclusive mode")
            _refuse_the_future(before)
            if before is None or not running_batches(connection) or before == SCHEMA_REVISION:
                return _bring_up(connection, before)
        if time.monotonic() > deadline:
            raise BatchesStillOpen
        time.sleep(0.5)


def _refuse_the_future(before: str | None) -> None:
    if before is not None and before > SCHEMA_REVISION:
        raise SchemaFromTheFuture(f"the database is at revision {before}, this program knows {SCHEMA_REVISION}")


def _bring_up(connection: Connection, before: str | None) -> bool:
    if before != SCHEMA_REVISION:
        run(connection, "set local lock_timeout = '10s'")
        _migrate(connection)
    changed = refresh_views(connection)
    return changed or before != SCHEMA_REVISION


def _migrate(connection: Connection) -> None:
    # Only now: every command would pay for it, and hardly one has anything to migrate.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def refresh_views(connection: Connection) -> bool:
    """Create our views anew where the text of one has changed, drop those that are gone; say if any had.

    The views of the audits and of metrics/views, each named like its file, may build on one another.
    """
    wanted = view_texts()
    marks = {name: sha256(text.encode()).hexdigest() for name, text in wanted.items()}
    installed = _installed(connection)
    if marks == installed:
        return False
    for name in wanted.keys() | installed.keys():
        run(connection, f'drop view if exists "{name}" cascade')
    for name in _in_order(wanted):
        run(connection, f'create view "{name}" as {wanted[name]}')
        run(connection, f"comment on view \"{name}\" is 'neural_pipeline {marks[name]}'")
    return True


def view_texts() -> dict[str, str]:
    """Return the SQL of every view by its name."""
    paths = [path for folder in _VIEWS for path in folder.iterdir() if path.name.endswith(".sql")]
    return {path.name.removesuffix(".sql"): path.read_text(encoding="utf-8") for path in paths}


def _in_order(texts: dict[str, str]) -> list[str]:
    """Return the names of views so that each comes after those it reads; raises CycleError."""
    words = {name: set(re.findall(r"\w+", text)) for name, text in texts.items()}
    reads = {name: sorted((words[name] & texts.keys()) - {name}) for name in sorted(texts)}
    return list(TopologicalSorter(reads).static_order())


def _installed(connection: Connection) -> dict[str, str]:
    sql = """
    select c.relname as name, split_part(obj_description(c.oid, 'pg_class'), ' ', 2) as mark
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = current_schema() and c.relkind = 'v'
      and obj_description(c.oid, 'pg_class') like 'neural_pipeline %'
    """
    return {row["name"]: row["mark"] for row in rows(connection, sql)}
