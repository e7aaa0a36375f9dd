"""Dagster's storage with a pool: makes its tables, shares its connections, looks at the catalogue once."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.engine import URL

from neural_pipeline.automation.dagster_storage import PooledPostgresStorage, _there, hang_up
from neural_pipeline.cli.environment import deployment_file
from neural_pipeline.postgres.target import DAGSTER_SCHEMA, resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.sql import rows, scalar


@pytest.fixture
def url(database: URL, engine: Engine) -> str:
    """The URL of an empty schema for Dagster's tables."""
    with engine.begin() as connection:
        connection.execute(text(f"create schema {DAGSTER_SCHEMA}"))
    return resolve_database(Settings.load()).dagster_url.render_as_string(hide_password=False)


@pytest.fixture
def storage(url: str) -> Iterator[PooledPostgresStorage]:
    storage = PooledPostgresStorage(url)
    yield storage
    engine_of(storage).dispose()


def engine_of(storage: PooledPostgresStorage) -> Engine:
    return storage.run_storage._engine


def test_an_empty_database_is_given_the_tables_and_their_revision(storage: PooledPostgresStorage, engine: Engine):
    with engine.begin() as connection:
        found = rows(connection, "select tablename from pg_tables where schemaname = :schema", schema=DAGSTER_SCHEMA)
        assert {"runs", "event_logs", "jobs", "instigators", "asset_keys"} <= {row.tablename for row in found}
        assert scalar(connection, f"select count(*) from {DAGSTER_SCHEMA}.alembic_version") == 1
    current, newest = storage.run_storage.alembic_version() or (None, None)
    assert current == newest
    assert not list(storage.run_storage.get_runs())
    assert not storage.schedule_storage.all_instigator_state()


def test_whoever_works_in_the_same_database_shares_its_connections(storage: PooledPostgresStorage, url: str):
    for one in (storage, PooledPostgresStorage(url), PooledPostgresStorage(url)):
        list(one.run_storage.get_runs())
        one.schedule_storage.all_instigator_state()
        one.event_log_storage.get_logs_for_run("no such run")
    with engine_of(storage).connect() as connection:
        ours = text("select count(*) from pg_stat_activity where datname = current_database() and pid <> :ours")
        pid = connection.execute(text("select pg_backend_pid()")).scalar()
        others = connection.execute(ours, {"ours": pid}).scalar()
    assert others == 1  # the fixture's, which made the schema


def test_what_was_found_in_the_catalogue_is_not_looked_for_again(storage: PooledPostgresStorage, url: str):
    def go_through(one: PooledPostgresStorage) -> None:
        one.run_storage.has_run_stats_index_cols()
        one.event_log_storage.has_table("asset_keys")
        assert one.schedule_storage.supports_batch_queries

    go_through(storage)
    told: list[str] = []

    def listen(*given: Any) -> None:
        told.append(given[2])

    event.listen(Engine, "before_cursor_execute", listen)  # of Dagster's own engines, too
    try:
        go_through(PooledPostgresStorage(url))
        assert told == []
        _there.clear()
        go_through(PooledPostgresStorage(url))
        assert told
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


def test_what_was_not_found_is_looked_for_again(storage: PooledPostgresStorage):
    assert not storage.event_log_storage.has_table("not_there_yet")
    with engine_of(storage).connect() as connection:
        connection.execute(text("create table not_there_yet (n int)"))
    assert storage.event_log_storage.has_table("not_there_yet")


def test_connections_that_the_server_has_ended_are_replaced(storage: PooledPostgresStorage, engine: Engine):
    list(storage.run_storage.get_runs())
    with engine.begin() as connection:
        ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database()"
        assert scalar(connection, f"{ended} and pid <> pg_backend_pid()") == 1
    assert not list(storage.run_storage.get_runs())


def test_a_fork_leaves_the_connections_of_its_parent_alone(storage: PooledPostgresStorage):
    asking = text("select pg_backend_pid()")
    with engine_of(storage).connect() as connection:
        ours = connection.execute(asking).scalar()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with engine_of(storage).connect() as connection:
            os.write(write, str(connection.execute(asking).scalar()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert int(os.read(read, 100)) != ours
    os.close(read)
    os.close(write)
    with engine_of(storage).connect() as connection:
        assert connection.execute(asking).scalar() == ours
    hang_up()
    with engine_of(storage).connect() as connection:
        assert connection.execute(asking).scalar() != ours


def test_dagster_takes_it_from_the_deployed_configuration(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEURAL_DAGSTER_URL", url)
    (tmp_path / "dagster.yaml").write_bytes(deployment_file("dagster.yaml").read_bytes())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert not instance.get_runs()
        # What a code server is given to make the instance anew.
        again = dg.DagsterInstance.from_ref(instance.get_ref())
        assert pool_of(again) is pool_of(instance)
        assert url not in str(instance.get_ref().to_dict())
        pool_of(instance).dispose()


def pool_of(instance: dg.DagsterInstance) -> Engine:
    return instance.run_storage._engine
