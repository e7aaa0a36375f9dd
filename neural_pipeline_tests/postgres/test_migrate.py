"""Upgrading a database: once, one at a time, never under running batches, and views only when they changed."""

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL

from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.store import migrate
from neural_pipeline.store.migrate import BatchesStillOpen, SchemaFromTheFuture, upgrade
from neural_pipeline.store.revision import SCHEMA_REVISION, VERSION_TABLE, current_revision
from neural_pipeline_tests.building import begun_batch, column, end_run, open_batch, waiting

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture
def empty(server: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[URL]:
    """The URL of a database with nothing in it; DATABASE_URL names it."""
    admin, name = server_url(server, "postgres"), f"empty_{uuid4().hex}"
    create_database(admin, name)
    url = server_url(server, name)
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    monkeypatch.setenv("NEURAL_HOME", str(tmp_path))
    yield url
    drop_database(admin, name)


def alembic(output: io.StringIO | None = None) -> Config:
    """Return alembic's configuration as its own command finds it."""
    return Config(toml_file=PYPROJECT, stdout=output or io.StringIO())


def views(connection: Connection) -> dict[str, int]:
    sql = "select relname, oid from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace"
    return {row.relname: row.oid for row in connection.execute(text(sql))}


def be_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this program one that is newer than the database."""
    monkeypatch.setattr(migrate, "SCHEMA_REVISION", f"{SCHEMA_REVISION}b")


def test_the_revision_this_program_is_written_for_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(alembic()).get_heads() == [SCHEMA_REVISION]


def test_an_empty_database_is_brought_up_once(empty: URL) -> None:
    engine = create_engine(empty)
    assert upgrade(engine) is True
    with engine.begin() as connection:
        assert current_revision(connection) == SCHEMA_REVISION
        before = views(connection)
        assert "event_accounting" in before
    assert upgrade(engine) is False
    with engine.begin() as connection:
        assert views(connection) == before
    engine.dispose()


def test_threads_upgrading_one_database_at_once_all_succeed_and_one_did_it(empty: URL) -> None:
    engine = create_engine(empty)
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: upgrade(engine), range(4))) == [False, False, False, True]
    engine.dispose()


def test_processes_upgrading_one_database_at_once_all_succeed_and_one_did_it(empty: URL) -> None:
    script = """
import os
from sqlalchemy import create_engine
from neural_pipeline.store.migrate import upgrade
print(upgrade(create_engine(os.environ["DATABASE_URL"])))
"""
    started = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=PYPROJECT.parent)
        for _ in range(2)
    ]
    assert sorted(process.communicate(timeout=60)[0].strip() for process in started) == ["False", "True"]


def test_a_database_from_the_future_is_refused_at_once_though_batches_are_running(
    engine: Engine, workspace: str
) -> None:
    with engine.begin() as connection:
        begun_batch(connection, waiting(connection, 1))
        connection.execute(text(f"update {VERSION_TABLE} set version_num = '9999'"))
    began = time.monotonic()
    with pytest.raises(SchemaFromTheFuture, match="9999"):
        upgrade(engine, wait_seconds=30)
    assert time.monotonic() - began < 10


def test_running_batches_do_not_hold_up_an_upgrade_that_has_nothing_to_migrate(engine: Engine, workspace: str) -> None:
    with engine.begin() as connection:
        begun_batch(connection, waiting(connection, 1))
    assert upgrade(engine, wait_seconds=0) is False


def test_a_migration_is_refused_while_a_batch_is_running(
    engine: Engine, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_behind(monkeypatch)
    with engine.begin() as connection:
        begun_batch(connection, waiting(connection, 1))
    with pytest.raises(BatchesStillOpen):
        upgrade(engine, wait_seconds=0)


def test_a_migration_begins_as_soon_as_the_last_running_batch_is_closed(
    engine: Engine, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_behind(monkeypatch)
    with engine.begin() as connection:
        token = begun_batch(connection, waiting(connection, 1))
    with ThreadPoolExecutor(1) as pool:
        upgrading = pool.submit(upgrade, engine, wait_seconds=20)
        time.sleep(0.3)
        assert not upgrading.done()
        with engine.begin() as connection:
            end_run(connection, token)
        assert upgrading.result(timeout=10) is True


def test_a_batch_that_nobody_has_taken_does_not_hold_up_a_migration(
    engine: Engine, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_behind(monkeypatch)
    with engine.begin() as connection:
        open_batch(connection, waiting(connection, 1))
    assert upgrade(engine, wait_seconds=0) is True


def test_a_view_whose_text_changed_is_made_anew(engine: Engine) -> None:
    with engine.begin() as connection:
        before = views(connection)["event_accounting"]
        connection.execute(text("comment on view event_accounting is 'neural_pipeline of-another-text'"))
    assert upgrade(engine) is True
    with engine.begin() as connection:
        assert views(connection)["event_accounting"] != before
        assert len(column(connection, "select rule from event_accounting")) > 5


def test_a_view_that_the_program_no_longer_has_goes_and_one_of_somebody_else_stays(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("create view of_yesterday as select 1 as one"))
        connection.execute(text("comment on view of_yesterday is 'neural_pipeline 0123'"))
        connection.execute(text("create view of_somebody as select 1 as one"))
    assert upgrade(engine) is True
    with engine.begin() as connection:
        assert {"of_yesterday", "of_somebody"} & views(connection).keys() == {"of_somebody"}
    assert upgrade(engine) is False


def test_a_view_that_is_missing_comes_back(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("drop view event_accounting"))
    assert upgrade(engine) is True
    with engine.begin() as connection:
        assert "event_accounting" in views(connection)


def test_alembic_reads_pyproject_and_finds_the_database_current(engine: Engine) -> None:
    output = io.StringIO()
    command.current(alembic(output), check_heads=True)
    assert output.getvalue().strip() == f"{SCHEMA_REVISION} (head)"


def test_alembic_finds_an_empty_database_behind_and_can_upgrade_it(empty: URL) -> None:
    with pytest.raises(CommandError):
        command.current(alembic(), check_heads=True)
    command.upgrade(alembic(), "head")
    command.current(alembic(), check_heads=True)
    engine = create_engine(empty)
    with engine.begin() as connection:
        assert current_revision(connection) == SCHEMA_REVISION
    engine.dispose()


def test_the_migration_to_nothing_is_refused(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="database instead"):
        command.downgrade(alembic(), "base")
    with engine.begin() as connection:
        assert current_revision(connection) == SCHEMA_REVISION
