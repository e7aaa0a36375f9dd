"""One database that tests share, for all that fits into a transaction: a clone per test costs half a second."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine

from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline_tests.building import workspaces


@pytest.fixture(scope="session")
def shared_engine(server: Path, template: str) -> Iterator[Engine]:
    """The engine of a database in which nothing is ever committed, but the workspace `ws_test`."""
    create_database(server_url(server, "postgres"), "shared_by_tests", template=template)
    engine = create_engine(server_url(server, "shared_by_tests"))
    with engine.begin() as connection:
        workspaces(connection, "ws_test")
    yield engine
    engine.dispose()


@pytest.fixture
def scratch(shared_engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that is rolled back at the end of the test."""
    with shared_engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()
