"""The `neural` command as a process: the database's life, obstacles told on one line, interruptions, what is loaded."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from neural_pipeline.cli.environment import dagster_home, deployment_file
from neural_pipeline.cli.main import run
from neural_pipeline.postgres import server as embedded
from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.postgres.target import Target
from neural_pipeline.store.revision import SCHEMA_REVISION

pytestmark = pytest.mark.daemons

NEURAL = [sys.executable, "-c", "from neural_pipeline.cli.main import main; main()"]
HIDDEN = "s3cr3t-w0rd"
EXTERNAL = f"postgresql://mira:{HIDDEN}@127.0.0.1:1/pipeline"


def neural(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NEURAL, *arguments], env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def home() -> Iterator[Path]:
    """A short folder that every account can enter, as a Postgres started by root needs."""
    with tempfile.TemporaryDirectory(prefix="neural-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "home"
        embedded.stop(Path(folder) / "home", mode="immediate")


@pytest.mark.slow
def test_the_embedded_database_is_started_used_and_stopped(home: Path) -> None:
    here = {"NEURAL_HOME": str(home)}
    before = neural("db", "status", **here)
    assert (before.returncode, "not running" in before.stdout) == (3, True)
    refused = neural("workspaces", "list", **here)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert refused.stderr == "neural: the database is not running: start it with `neural db start`\n"

    for _ in range(2):
        started = neural("db", "start", **here)
        assert started.returncode == 0, started.stderr
    assert f"schema   {SCHEMA_REVISION}\n" in neural("db", "status", **here).stdout
    assert neural("db", "upgrade", **here).returncode == 0
    assert neural("workspaces", "create", "ws_a", **here).returncode == 0
    url = neural("db", "url", **here).stdout
    assert make_url(url.strip()) == server_url(home, "neural").set(drivername="postgresql")
    dagster_url = make_url(neural("db", "url", "--dagster", **here).stdout.strip())
    assert (dagster_url.drivername, dagster_url.query["options"]) == (
        "postgresql+psycopg2",
        "-csearch_path=neural_dagster",
    )

    assert neural("db", "stop", **here).stdout == "stopped\n"
    assert neural("db", "stop", **here).stdout == "it was not running\n"
    assert neural("db", "status", **here).returncode == 3


def test_a_database_named_by_its_url_is_checked_and_migrated(
    server: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_database(server_url(server, "postgres"), "brought_along")
    url = server_url(server, "brought_along").render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", url)
    try:
        assert run(["workspaces", "list"]) == 4
        assert "run `neural db upgrade`" in capsys.readouterr().err
        assert run(["db", "upgrade"]) == 0
        assert run(["db", "start"]) == 0
        assert run(["workspaces", "list"]) == 0
        assert run(["db", "stop"]) == 2
        assert "did not start" in capsys.readouterr().err
    finally:
        drop_database(server_url(server, "postgres"), "brought_along")


@pytest.mark.parametrize(
    ("command", "code"),
    [("db start", 4), ("db upgrade", 4), ("db status", 3), ("runs list", 4), ("workspaces list", 4)],
)
def test_a_server_that_does_not_answer_is_told_on_one_line_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, code: int
) -> None:
    monkeypatch.setenv("DATABASE_URL", EXTERNAL)
    assert run(command.split()) == code
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert "cannot connect to database pipeline at 127.0.0.1:1 as user mira" in captured.err
    assert HIDDEN not in captured.out + captured.err


def test_passwords_are_masked_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{EXTERNAL}?sslpassword={HIDDEN}")
    for command in (["db", "url"], ["db", "url", "--dagster"], ["settings"], ["settings", "--json"]):
        assert run(command) == 0
        captured = capsys.readouterr()
        assert HIDDEN not in captured.out + captured.err
        assert "***" in captured.out
    assert run(["db", "url", "--show-password"]) == 0
    assert capsys.readouterr().out.startswith(f"postgresql://mira:{HIDDEN}@127.0.0.1:1/pipeline")


def test_env_prints_what_a_shell_can_read_and_warns_of_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "a folder; $(touch x)"
    monkeypatch.setenv("DATABASE_URL", EXTERNAL)
    monkeypatch.setenv("NEURAL_HOME", str(home))
    assert run(["env"]) == 0
    captured = capsys.readouterr()
    words = [shlex.split(line) for line in captured.out.splitlines()]
    assert {word[0] for word in words} == {"export"}
    exported: Mapping[str, str] = dict(word[1].split("=", 1) for word in words)
    assert exported["DAGSTER_HOME"] == str(home / "dagster")
    assert make_url(exported["NEURAL_DAGSTER_URL"]).password == HIDDEN
    assert "password" in captured.err


def test_dagsters_home_holds_the_deployed_configuration_and_is_renewed(tmp_path: Path) -> None:
    target = Target(URL.create("postgresql"), URL.create("postgresql"), embedded=True, home=tmp_path, note=None)
    file = dagster_home(target) / "dagster.yaml"
    file.write_text("storage: {}")
    assert dagster_home(target) == file.parent
    assert file.read_bytes() == deployment_file("dagster.yaml").read_bytes()
    assert "NEURAL_DAGSTER_URL" in file.read_text()
    assert "neural_pipeline.definitions" in deployment_file("workspace.yaml").read_text()


def test_every_setting_is_listed_with_its_meaning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["settings"]) == 0
    shown = capsys.readouterr().out
    assert "NEURAL_CAPTURE_CHUNK" in shown
    assert "Events committed in one transaction." in shown


def test_a_setting_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEURAL_CAPTURE_CHUNK", "many")
    assert run(["settings"]) == 2
    captured = capsys.readouterr()
    assert "NEURAL_CAPTURE_CHUNK" in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_traceback_is_shown_only_with_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", EXTERNAL)
    plain, debug = neural("runs", "list"), neural("--debug", "runs", "list")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert HIDDEN not in debug.stderr
    assert (plain.returncode, debug.returncode) == (4, 4)


@pytest.mark.parametrize("command", ["frob", "db", "db frob", "runs show", "--frob"])
def test_wrong_usage_is_one_line_that_names_the_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run(command.split()) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "--help`" in line


@pytest.mark.parametrize("command", ["", "--help", "db --help", "ingest --help", "runs list --help", "env --help"])
def test_help_is_printed(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run(command.split()) == 0
    assert "Usage: neural" in capsys.readouterr().out


def test_an_interruption_ends_without_a_traceback(workspace: str) -> None:
    call = [*NEURAL, "ingest", "-w", workspace, "-"]
    process = subprocess.Popen(call, stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    # Half a megabyte does not fit into the pipe: when it is written, the command is reading.
    process.stdin.write(b'{"x": 1}\n' * 60_000)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    process.stdin = None
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert b"payloads were handed in before" in errors


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_ends_it_quietly(unbuffered: str) -> None:
    process = subprocess.Popen(
        [*NEURAL, "settings", "--json"],
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    assert (process.wait(), errors) == (1, b"")


def test_no_command_of_this_room_loads_dagster_and_help_loads_no_database() -> None:
    code = """
import sys
from neural_pipeline.cli.main import run
run(["--help"])
assert "sqlalchemy" not in sys.modules and "pydantic" not in sys.modules
import neural_pipeline.cli.db, neural_pipeline.cli.ingest, neural_pipeline.cli.runs, neural_pipeline.cli.failures
import neural_pipeline.cli.workspaces, neural_pipeline.cli.environment
assert not [name for name in sys.modules if name.split(".")[0] == "dagster"]
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
