"""Dagster's Postgres storage as dagster.yaml names it: one pool per process, and what it found to be there stays found.

Dagster's own opens a connection per call, and whenever an instance is made, which is at every turn of every sensor, it
looks whether its tables are complete. Private attributes are used here; Dagster is pinned to one version.
"""

import os
import weakref
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Self, TypeVar, cast

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.config import PostgresStorageConfig
from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.utils import pg_url_from_config, retry_pg_connection_fn
from sqlalchemy import Engine, create_engine, text

from neural_pipeline.store.database import KEEPALIVE

_Look = TypeVar("_Look", bound=Callable[..., bool])
_there: set[tuple[str, ...]] = set()
"""What was found in each database: tables, columns and migrations, none of which is ever taken away."""

_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()

_ARE_TABLES_THERE = text("""
select bool_and(to_regclass(name) is not null)
from unnest(array['runs', 'instance_info', 'event_logs', 'jobs', 'instigators']) as name
""")


def _for_good(look: _Look) -> _Look:
    """Have a look into the catalogue not repeated once it has found what it looked for."""

    @wraps(look)
    def found(self: Any, *given: object, **named: object) -> bool:
        names = [name for name in (*given, *named.values()) if isinstance(name, str)]
        key = (self.postgres_url, look.__qualname__, *names)
        if key not in _there and look(self, *given, **named):
            _there.add(key)
        return key in _there

    return cast("_Look", found)


class _Pooled:
    """A storage that takes its connections from a pool."""

    _engine: Engine

    def taking_from(self, engine: Engine) -> Self:
        """Have all connections taken from this engine."""
        self._engine = engine
        return self


class _Runs(_Pooled, PostgresRunStorage):
    has_built_index = _for_good(PostgresRunStorage.has_built_index)
    has_run_stats_index_cols = _for_good(PostgresRunStorage.has_run_stats_index_cols)
    has_backfill_id_column = _for_good(PostgresRunStorage.has_backfill_id_column)
    has_backfill_tags_table = _for_good(PostgresRunStorage.has_backfill_tags_table)
    has_bulk_actions_selector_cols = _for_good(PostgresRunStorage.has_bulk_actions_selector_cols)
    has_bulk_action_job_name_column = _for_good(PostgresRunStorage.has_bulk_action_job_name_column)


class _Events(_Pooled, PostgresEventLogStorage):
    has_table = _for_good(PostgresEventLogStorage.has_table)
    has_secondary_index = _for_good(PostgresEventLogStorage.has_secondary_index)
    _has_asset_key_col_on_connection = _for_good(PostgresEventLogStorage._has_asset_key_col_on_connection)


class _Turns(_Pooled, PostgresScheduleStorage):
    has_built_index = _for_good(PostgresScheduleStorage.has_built_index)
    _has_instigators_table = _for_good(PostgresScheduleStorage._has_instigators_table)


class PooledPostgresStorage(DagsterPostgresStorage):
    """Dagster's storage in Postgres; all instances of a process that use the same database share its connections.

    Its tables are made if need be. Raises DagsterPostgresException where the database does not answer.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        engine, key = _engine(postgres_url), (postgres_url, "tables")
        if key not in _there and retry_pg_connection_fn(lambda: _are_tables_there(engine)):
            _there.add(key)
        super().__init__(postgres_url, should_autocreate_tables=key not in _there, inst_data=inst_data)
        _there.add(key)
        self._run_storage = _Runs(postgres_url, should_autocreate_tables=False).taking_from(engine)
        self._event_log_storage = _Events(postgres_url, should_autocreate_tables=False).taking_from(engine)
        self._schedule_storage = _Turns(postgres_url, should_autocreate_tables=False).taking_from(engine)

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Return what dagster.yaml may say: the URL, which should come from the environment."""
        return {"postgres_url": dg.StringSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: PostgresStorageConfig
    ) -> "PooledPostgresStorage":
        """Make the storage that dagster.yaml describes."""
        return cls(pg_url_from_config(config_value), inst_data)


@lru_cache(maxsize=8)
def _engine(url: str) -> Engine:
    """Return this process's engine for Dagster's tables; each statement is committed, as by Dagster's own."""
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=4,
        max_overflow=28,
        pool_use_lifo=True,
        pool_pre_ping=True,
        hide_parameters=True,
        use_native_hstore=False,
        connect_args=KEEPALIVE,
    )
    _engines.add(engine)
    return engine


def hang_up() -> None:
    """Close the connections of this process that are in no use; the next call opens one."""
    for engine in list(_engines):
        engine.dispose()


def _forget_connections() -> None:
    """What a fork inherits is its parent's: it must neither use nor close it."""
    for engine in list(_engines):
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_connections)


def _are_tables_there(engine: Engine) -> bool:
    with engine.connect() as connection:
        return connection.execute(_ARE_TABLES_THERE).scalar() is True
