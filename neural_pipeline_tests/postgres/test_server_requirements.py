"""Databases made and dropped, and the lacks of a server told, on a real server."""

import secrets
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from neural_pipeline.postgres import requirements
from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.errors import ServerUnsuitable
from neural_pipeline.postgres.requirements import check_server, describe_connection_error
from neural_pipeline.postgres.server import ephemeral_server, server_url

ODD_NAME = '100% "quoted": it\'s'


@pytest.fixture(scope="module")
def home() -> Generator[Path]:
    with ephemeral_server() as path:
        yield path


@pytest.fixture(scope="module")
def admin(home: Path) -> URL:
    return server_url(home, "postgres")


@pytest.fixture
def url(home: Path, admin: URL) -> Generator[URL]:
    name = f"database_{secrets.token_hex(4)}"
    create_database(admin, name)
    yield server_url(home, name)
    drop_database(admin, name)


@contextmanager
def connected(url: URL) -> Generator[Connection]:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        yield connection


def names(admin: URL) -> set[str]:
    with connected(admin) as connection:
        return set(connection.scalars(text("select datname from pg_database")))


def weak_role(url: URL, *statements: str) -> URL:
    role = f"role_{secrets.token_hex(4)}"
    with connected(url) as connection:
        for statement in (f"create role {role} login", *statements):
            connection.execute(text(statement.format(role=role, database=url.database)))
        connection.commit()
    return url.set(username=role)


def lack(url: URL, *preparations: str) -> str:
    with connected(url) as connection:
        for statement in preparations:
            connection.execute(text(statement))
        with pytest.raises(ServerUnsuitable) as caught:
            check_server(connection)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_database_is_made_once_and_dropped_once(admin: URL) -> None:
    assert create_database(admin, ODD_NAME) is True
    assert create_database(admin, ODD_NAME) is False
    assert ODD_NAME in names(admin)
    drop_database(admin, ODD_NAME)
    drop_database(admin, ODD_NAME)
    assert ODD_NAME not in names(admin)


def test_of_many_makers_at_once_one_makes_the_database(admin: URL) -> None:
    for round_ in range(3):
        with ThreadPoolExecutor(6) as pool:
            made = list(pool.map(lambda _, name=f"shared_{round_}": create_database(admin, name), range(6)))
        assert sorted(made) == [False] * 5 + [True]
        drop_database(admin, f"shared_{round_}")


def test_a_template_is_copied_with_its_tables(home: Path, admin: URL, url: URL) -> None:
    with connected(url) as connection:
        connection.execute(text("create table copied as select 7 as answer"))
        connection.commit()
    create_database(admin, ODD_NAME, template=url.database)
    with connected(server_url(home, ODD_NAME)) as connection:
        assert connection.scalar(text("select answer from copied")) == 7
    drop_database(admin, ODD_NAME)


def test_a_missing_template_is_an_error(admin: URL) -> None:
    with pytest.raises(DBAPIError, match="does not exist"):
        create_database(admin, "never", template="missing")


def test_a_database_in_use_is_dropped(admin: URL, url: URL) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    engine.connect().close()  # the pool keeps its session
    drop_database(admin, str(url.database))
    assert url.database not in names(admin)
    engine.dispose()


def test_a_suitable_server_passes_and_nothing_is_changed(url: URL) -> None:
    with connected(url) as connection:
        connection.execute(text("create table before_the_check (id int)"))
        check_server(connection)
        assert connection.scalar(text("select to_regclass('before_the_check') is not null"))
        assert connection.scalar(text("select count(*) from pg_extension where extname = 'vector'")) == 0


def test_a_role_that_may_not_create_the_extension_is_told_so_until_it_is_there(url: URL) -> None:
    role = weak_role(url, "grant create on schema public to {role}")
    assert "run `create extension vector` in database" in lack(role)
    with connected(url) as connection:
        connection.execute(text("create extension vector"))
        connection.commit()
    assert "create schemas" in lack(role)


def test_a_server_without_pgvector_is_refused(url: URL) -> None:
    hidden = ("create schema hiding", "create table hiding.pg_available_extensions (name text)")
    assert "pgvector is not installed" in lack(url, *hidden, "set search_path = hiding, pg_catalog")


def test_a_role_that_may_not_create_schemas_is_told_the_grant(url: URL) -> None:
    role = weak_role(url, "create extension vector", "grant create on schema public to {role}")
    assert f'run `grant create on database "{url.database}" to "{role.username}"`' in lack(role)


def test_a_role_that_may_not_create_tables_is_told_the_grant(url: URL) -> None:
    role = weak_role(url, "create extension vector", "grant create on database {database} to {role}")
    assert f'run `grant create on schema public to "{role.username}"`' in lack(role)


def test_a_role_with_every_grant_passes(url: URL) -> None:
    grants = ("grant create on database {database} to {role}", "grant create on schema public to {role}")
    with connected(weak_role(url, "create extension vector", *grants)) as connection:
        check_server(connection)


def test_a_server_that_is_too_old_is_refused(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "OLDEST_VERSION", 99)
    assert "it is version 18" in lack(url)
    assert "use Postgres 99 or later" in lack(url)


def test_a_read_only_server_is_refused(url: URL) -> None:
    assert "read-only" in lack(url, "set transaction read only")


def test_a_missing_database_is_named_on_one_line(admin: URL) -> None:
    missing = admin.set(database="missing", password="hunter2")
    with pytest.raises(DBAPIError) as caught, connected(missing):
        pass
    line = describe_connection_error(caught.value, missing)
    assert 'database "missing" does not exist' in line
    assert "as user postgres" in line
    assert str(admin.query["host"]) in line
    assert "\n" not in line
    assert "hunter2" not in line
