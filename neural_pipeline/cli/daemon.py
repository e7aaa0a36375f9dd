"""Dagster's processes, started and stopped: the daemon alone, or `dagster dev` with the user interface.

One daemon per database: the place is an advisory lock that ends with the process holding it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from neural_pipeline.store import batches
from neural_pipeline.store.drain import become_daemon, start_draining

_PATIENCE = 15.0
"""Seconds that Dagster's processes get to stop by themselves."""


class DaemonRunsAlready(Exception):
    """Another daemon works on this database."""


def daemon_command(workspace: Path) -> list[str]:
    """Return the command of the daemon alone."""
    return [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", str(workspace)]


def development_command(workspace: Path, *, host: str, port: int) -> list[str]:
    """Return the command of daemon, code server and user interface together."""
    program = str(Path(sys.executable).with_name("dagster"))
    return [program, "dev", "-w", str(workspace), "-h", host, "-p", str(port)]


@contextmanager
def daemon_place(url: URL) -> Generator[Connection]:
    """Hold the one place for a daemon on a database; raises DaemonRunsAlready."""
    # Not from the pool: the locks are the session's, and it must end with this block.
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True)
    with engine.connect() as connection:
        if not become_daemon(connection):
            raise DaemonRunsAlready
        yield connection


@contextmanager
def kept_running(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path, again: str | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Run a command below a keeper for the length of the block, its output in a file.

    With `again`, the name people know it by, it is started again when it ends; the keeper's output tells so.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    options = ["--again", again] if again else []
    keeper = [sys.executable, "-m", "neural_pipeline.cli.keeper", str(_PATIENCE), *options, *command]
    with log.open("ab") as output:
        process = subprocess.Popen(
            keeper,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if again else output,
            stderr=output,
            env={**os.environ, **environment},
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(timeout=_PATIENCE * 3)


def let_runs_finish(place: Connection, *, seconds: float, is_impatient: Callable[[], bool]) -> int:
    """Assign nothing new and wait for running batches, at most `seconds`; return how many are still running."""
    start_draining(place)
    deadline = time.monotonic() + seconds
    while (running := batches.running_batches(place)) and time.monotonic() < deadline and not is_impatient():
        time.sleep(0.5)
    return running
