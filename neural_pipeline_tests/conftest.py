"""A real Postgres for the session, and for each test that asks a database of its own, cloned from a template."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL

from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import ephemeral_server, server_url
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.migrate import upgrade
from neural_pipeline.store.workspaces import create_workspace

TEMPLATE = "template_of_tests"
SETTINGS = {"version": 1, "embedding": {"namespaceName": "tests"}}
FROM_OUTSIDE = ("DATABASE_URL", "DAGSTER_HOME", "OPENAI_API_KEY", "ANTHROPIC_API_KEY")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """What the developer's shell exports must not decide a test."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("NEURAL_")}
    kept |= {name: os.environ.pop(name) for name in FROM_OUTSIDE if name in os.environ}
    yield
    os.environ.update(kept)


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Started in the background of a shell, a process ignores SIGINT, and so would all that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server() -> Iterator[Path]:
    """The home folder of a Postgres server that ends with the session, however that ends."""
    with ephemeral_server() as home:
        yield home


@pytest.fixture(scope="session")
def template(server: Path) -> str:
    """A database at the newest schema, for cloning."""
    create_database(server_url(server, "postgres"), TEMPLATE)
    engine = create_engine(server_url(server, TEMPLATE))
    upgrade(engine)
    engine.dispose()
    return TEMPLATE


@pytest.fixture
def database(server: Path, template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[URL]:
    """The URL of this test's own database; DATABASE_URL names it."""
    name = f"test_{uuid4().hex}"
    admin = server_url(server, "postgres")
    create_database(admin, name, template=template)
    url = server_url(server, name)
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    yield url
    engine_for(url).dispose()
    drop_database(admin, name)


@pytest.fixture
def engine(database: URL) -> Engine:
    """The engine of this test's own database."""
    return engine_for(database)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that is committed at the end of the test."""
    with engine.begin() as connection:
        yield connection


@pytest.fixture
def workspace(engine: Engine) -> str:
    """The id of a workspace that exists and can be written to."""
    with engine.begin() as connection:
        create_workspace(connection, "ws_test", organisation="org_test", name="tests", settings=SETTINGS)
    return "ws_test"
