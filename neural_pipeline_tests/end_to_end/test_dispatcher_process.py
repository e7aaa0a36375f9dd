"""The dispatcher as a process: it goes on after its connections were cut, and ends when told to or with its parent."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from neural_pipeline.store.sql import rows, scalar
from neural_pipeline_tests.building import waiting, workspaces
from neural_pipeline_tests.end_to_end.processes import environment_of, wait_until

pytestmark = [pytest.mark.daemons, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "neural_pipeline.automation.dispatcher"]
PARENT = f"import subprocess, sys; subprocess.run({COMMAND!r})"


@pytest.fixture
def environment(engine: Engine, database: URL, tmp_path: Path) -> dict[str, str]:
    return environment_of(engine, database, tmp_path)


@pytest.fixture
def process(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (tmp_path / "dispatcher.log").open("wb") as log:
        process = subprocess.Popen(COMMAND, env=environment, cwd=tmp_path, stderr=log)
    yield process
    process.kill()
    process.wait()


def test_it_has_runs_made_until_it_is_told_to_end(engine: Engine, process: subprocess.Popen[bytes]):
    take_in(engine, "ws_one")
    wait_until(engine, lambda connection: runs(connection) == 1, what="a run for the first workspace")
    with engine.begin() as connection:
        cut = "select pg_terminate_backend(pid) from pg_stat_activity"
        rows(connection, f"{cut} where pid <> pg_backend_pid() and datname = current_database()")
    engine.dispose()
    take_in(engine, "ws_two")
    wait_until(engine, lambda connection: runs(connection) == 2, what="a run for the second workspace")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0


def test_it_ends_with_its_parent(engine: Engine, environment: dict[str, str], tmp_path: Path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment, cwd=tmp_path)
    take_in(engine, "ws_one")
    wait_until(engine, lambda connection: runs(connection) == 1, what="a run")
    [child] = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    child.wait(timeout=120)


def take_in(engine: Engine, workspace_id: str) -> None:
    with engine.begin() as connection:
        workspaces(connection, workspace_id)
        waiting(connection, 1, workspace_id=workspace_id)


def runs(connection: Connection) -> int:
    """Count the runs that Dagster knows."""
    if scalar(connection, "select to_regclass('neural_dagster.runs')") is None:
        return 0
    return int(scalar(connection, "select count(*) from neural_dagster.runs"))
