"""Real processes for tests: Dagster's daemon on a test's own database, and waiting for what it does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from neural_pipeline.cli.environment import deployment_file, process_environment
from neural_pipeline.postgres.target import DAGSTER_SCHEMA, resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.sql import run, scalar

PATIENCE = 240.0
CAPTURES_ONLY = {
    f"NEURAL_{child}_{period}_SECONDS": "86400"
    for child in ("PROFILE", "SUMMARY", "EXTRACTION")
    for period in ("DEBOUNCE", "MAX_DEBOUNCE")
}
"""The children of what is captured wait longer than a test: it is about captures."""


def environment_of(engine: Engine, database: URL, home: Path) -> dict[str, str]:
    """Return the variables of Dagster's processes for a test's own database, after making Dagster's schema in it."""
    with engine.begin() as connection:
        run(connection, f"create schema if not exists {DAGSTER_SCHEMA}")
    own = {"NEURAL_HOME": str(home), "DATABASE_URL": database.render_as_string(hide_password=False), **CAPTURES_ONLY}
    os.environ |= own
    try:
        return os.environ | process_environment(resolve_database(Settings.load())) | own
    finally:
        for name in ("NEURAL_HOME", *CAPTURES_ONLY):
            os.environ.pop(name)


@contextmanager
def daemon(environment: dict[str, str], home: Path, *, name: str = "daemon") -> Iterator[subprocess.Popen[bytes]]:
    """Run `dagster-daemon` with its code server for the length of the block."""
    program = Path(sys.executable).with_name("dagster-daemon")
    with (home / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "neural_pipeline.cli.keeper", "10", str(program), "run", "-w",
             str(deployment_file("workspace.yaml"))],
            env=environment, cwd=home, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()
        process.wait(timeout=40)


def wait_until(engine: Engine, is_so: Callable[[Connection], bool], *, what: str, seconds: float = PATIENCE) -> None:
    """Wait until something holds in the database, or fail saying what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        with engine.begin() as connection:
            if is_so(connection):
                return
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for: {what}"
        time.sleep(0.3)


def no_capture_is_unfinished(connection: Connection) -> bool:
    """Tell whether every capture has its end."""
    sql = """
    select count(*) from lightfast_workspace_workflow_runs
    where inngest_function_id = 'neural.observation.capture' and status in ('queued', 'running')
    """
    return scalar(connection, sql) == 0


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Send what Ctrl-C sends to a whole process group."""
    os.killpg(process.pid, signal.SIGINT)
