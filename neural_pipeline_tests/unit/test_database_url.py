import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from neural_pipeline.postgres import target
from neural_pipeline.postgres.account import can_enter, server_account
from neural_pipeline.postgres.errors import DatabaseUrlRefused, FolderTaken
from neural_pipeline.postgres.folders import SHORT_FOLDER, Folders
from neural_pipeline.postgres.requirements import describe_connection_error
from neural_pipeline.postgres.server import server_url
from neural_pipeline.postgres.target import Target, normalised, resolve_database
from neural_pipeline.settings import Settings

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
SEARCH_PATH = "-csearch_path=neural_dagster"


@pytest.fixture
def open_folder() -> Generator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="neural-test-", dir=SHORT_FOLDER))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def closed_home(open_folder: Path) -> Path:
    (open_folder / "closed").mkdir(mode=0o700)
    return open_folder / "closed" / "my checkout" / ".neural"


def resolved(home: Path, *, database: str | None = None, dagster: str | None = None) -> Target:
    return resolve_database(Settings.model_validate({"home": home, "database_url": database, "dagster_url": dagster}))


@pytest.mark.parametrize(
    "scheme",
    ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg", "postgres+pg8000"],
)
def test_every_postgres_scheme_is_read_as_psycopg2(scheme: str) -> None:
    url = normalised(f" {scheme}://ann:p%40ss@db.example:5433/neural?sslmode=require\n")
    assert (
        url.render_as_string(hide_password=False)
        == "postgresql+psycopg2://ann:p%40ss@db.example:5433/neural?sslmode=require"
    )


@pytest.mark.parametrize(
    "text",
    [
        "mysql://ann:hunter2@host/db",
        "sqlite:///hunter2.db",
        "hunter2",
        "host=localhost password=hunter2",
        "postgresql://ann:hunter2@host:port/db",
        "postgresql://ann:1@hunter2@host/db",
        "postgresqlx://ann:hunter2@host/db",
    ],
)
def test_what_does_not_name_postgres_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(DatabaseUrlRefused) as caught:
        normalised(text)
    message = str(caught.value)
    assert "write " in message
    assert "\n" not in message
    assert "hunter2" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_password_in_the_query_is_hidden_like_any_other() -> None:
    url = normalised("postgresql:///neural?host=/run&user=ann&password=hunter2")
    assert url.render_as_string(hide_password=False) == "postgresql+psycopg2://ann:hunter2@/neural?host=%2Frun"
    assert "hunter2" not in f"{url!r} {url}"


def test_without_a_url_the_embedded_server_is_used(open_folder: Path) -> None:
    found = resolved(open_folder / "home")
    assert found == Target(
        url=server_url(open_folder / "home", "neural"),
        dagster_url=server_url(open_folder / "home", "neural").update_query_dict({"options": SEARCH_PATH}),
        embedded=True,
        home=open_folder / "home",
        note=None,
    )
    assert not (open_folder / "home").exists()


def test_a_given_url_is_external_and_the_home_stays_where_it_is(
    open_folder: Path, closed_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "_SYSTEM_FALLBACK", open_folder / "lib" / "neural_pipeline")
    found = resolved(closed_home, database="postgres://ann:hunter2@db.example/neural")
    assert not (open_folder / "lib").exists()
    assert (found.embedded, found.home, found.note) == (False, closed_home, None)
    assert found.url == normalised("postgresql://ann:hunter2@db.example/neural")
    assert found.dagster_url == found.url.update_query_dict({"options": SEARCH_PATH})
    assert "hunter2" not in f"{found!r} {found}"


def test_our_own_url_handed_to_a_child_is_still_the_embedded_server(open_folder: Path) -> None:
    home = open_folder / "home"
    own = server_url(home, "neural").render_as_string(hide_password=False)
    assert resolved(home, database=own) == resolved(home)
    assert not resolved(open_folder / "another", database=own).embedded
    assert not resolved(home, database=own.replace("/neural?", "/other?")).embedded


def test_options_of_the_url_are_kept_beside_the_search_path(tmp_path: Path) -> None:
    found = resolved(tmp_path, database="postgresql://host/db?options=-cstatement_timeout%3D5000")
    assert found.dagster_url.query["options"] == f"-cstatement_timeout=5000 {SEARCH_PATH}"


def test_dagster_can_have_a_database_of_its_own(tmp_path: Path) -> None:
    found = resolved(tmp_path, database="postgresql://host/db", dagster="postgres://other/dagster")
    assert found.dagster_url == normalised("postgresql://other/dagster")


@ROOT_ONLY
def test_a_home_the_account_cannot_enter_moves_to_the_named_fallback(
    open_folder: Path, closed_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "_SYSTEM_FALLBACK", open_folder / "lib" / "neural_pipeline")
    found = resolved(closed_home)
    assert found.home.parent == open_folder / "lib" / "neural_pipeline"
    assert found.home.name.startswith("my-checkout-")
    assert len(found.home.name) == len("my-checkout-") + 8
    assert found.url == server_url(found.home, "neural")
    assert found.note is not None
    assert str(found.home) in found.note
    assert str(closed_home) in found.note
    account = server_account(Folders.of(found.home).data)
    assert account is not None
    assert can_enter(account, found.home)
    assert resolved(closed_home) == found
    assert resolved(closed_home, database=found.url.render_as_string(hide_password=False)) == found
    assert resolved(closed_home.parent.with_name("other") / ".neural").home != found.home


@ROOT_ONLY
def test_without_a_system_folder_the_temporary_one_is_used(
    open_folder: Path, closed_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (open_folder / "file").touch()
    monkeypatch.setattr(target, "_SYSTEM_FALLBACK", open_folder / "file" / "neural_pipeline")
    monkeypatch.setattr(tempfile, "tempdir", str(open_folder))
    found = resolved(closed_home)
    assert found.home.parent == open_folder
    assert found.home.name.startswith("neural_pipeline-0-")
    os.chown(found.home, 65534, 65534)
    with pytest.raises(FolderTaken):
        resolved(closed_home)


def test_a_socket_path_that_is_long_or_odd_is_replaced_by_a_short_plain_one(open_folder: Path) -> None:
    assert Folders.of(open_folder / "home").socket == open_folder / "home" / "postgres" / "run"
    replaced = {Folders.of(open_folder / name).socket for name in ("x" * 80, "a b", "50%", "a,b", "ü")}
    assert len(replaced) == 5
    assert {path.parent for path in replaced} == {SHORT_FOLDER}


def test_a_server_that_cannot_be_reached_is_described_without_the_password() -> None:
    url = normalised("postgresql://ann:hunter2@127.0.0.1:1/neural")
    with pytest.raises(DBAPIError) as caught:
        create_engine(url).connect()
    line = describe_connection_error(caught.value, url)
    assert line.startswith("cannot connect to database neural at 127.0.0.1:1 as user ann: ")
    assert "refused" in line
    assert "\n" not in line


def test_a_password_inside_the_reason_is_masked_plain_and_encoded() -> None:
    url = normalised("postgresql://ann:hunter%202@host/neural")
    line = describe_connection_error(psycopg2.OperationalError("bad 'hunter 2' and\nhunter+2 hunter%202"), url)
    assert line.endswith("bad '***' and *** ***")
