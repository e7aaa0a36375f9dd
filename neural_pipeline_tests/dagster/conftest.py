"""One database for the runs of this folder, emptied for each test: a clone per test costs four times as much."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store.database import engine_for
from neural_pipeline_tests.building import empty_tables, workspaces
from neural_pipeline_tests.dagster.launching import REFUSE_MARKED_TITLES, Site


@pytest.fixture(scope="session")
def run_database(server: Path, template: str) -> Iterator[URL]:
    """A database that refuses observations with a marked title."""
    create_database(server_url(server, "postgres"), "runs_of_tests", template=template)
    url = server_url(server, "runs_of_tests")
    with engine_for(url).begin() as connection:
        connection.execute(text(REFUSE_MARKED_TITLES))
    yield url
    engine_for(url).dispose()


@pytest.fixture(scope="session")
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def site(run_database: URL, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site with the empty workspace `ws_test`; DATABASE_URL names its database."""
    monkeypatch.setenv("DATABASE_URL", run_database.render_as_string(hide_password=False))
    # One failure ends an execution, unless a test says otherwise.
    monkeypatch.setenv("NEURAL_CAPTURE_RETRIES", "0")
    engine = engine_for(run_database)
    empty(engine)
    for run in instance.get_runs():
        instance.delete_run(run.run_id)
    return Site(engine, instance)


def empty(engine: Engine) -> None:
    """Empty all tables and make the workspace."""
    with engine.begin() as connection:
        empty_tables(connection)
        workspaces(connection, "ws_test")
