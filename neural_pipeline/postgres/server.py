"""The embedded server: one detached Postgres per home folder, found through that folder. Databases: `databases`."""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlalchemy.engine import URL

from neural_pipeline.postgres.data_folder import data_version, make_data, make_root, make_socket_folder, open_to
from neural_pipeline.postgres.errors import FolderTaken, ServerDidNotStart, ServerDidNotStop
from neural_pipeline.postgres.folders import Folders, fleeting_folder
from neural_pipeline.postgres.postmaster import find_postmaster, living_processes, remove_misleading_locks
from neural_pipeline.postgres.programs import Programs, last_lines

StopMode = Literal["smart", "fast", "immediate"]

_START_SECONDS = 120.0
_END_SECONDS = 10.0
_LAUNCHES = 5
_POLL_SECONDS = 0.05
_OPTIONS = {
    "listen_addresses": "",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "max_wal_size": "1GB",
    "wal_compression": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_min_error_statement": "panic",  # a failing insert would put the whole payload into the log
}
_EPHEMERAL_OPTIONS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
}


@dataclass(frozen=True)
class ServerStatus:
    """What is known about the server of a home folder without connecting to it."""

    running: bool
    pid: int | None
    version: str | None
    data: Path
    socket_dir: Path
    started_at: datetime | None


def ensure(home: Path, *, ephemeral: bool = False) -> None:
    """Have a server answer for `home`: idempotent, from any number of processes at once.

    `ephemeral` trades durability for speed when this call is the one that starts it. Raises PostgresError.
    """
    folders = Folders.of(home)
    make_root(folders)
    with _locked(folders):
        programs = Programs.of(folders)
        if programs.account is not None:
            open_to(programs.account, folders)
        make_socket_folder(folders, programs.account)
        make_data(programs, durable=not ephemeral)
        _bring_up(programs, ephemeral=ephemeral)


def stop(home: Path, *, mode: StopMode = "fast") -> bool:
    """Stop the server of `home` and wait until it is gone; False if none ran."""
    folders = Folders.of(home)
    if not folders.data.exists():
        return False
    with _locked(folders):
        if find_postmaster(folders) is None:
            return False
        programs = Programs.of(folders)
        programs.succeeds("pg_ctl", "-D", folders.data, "-w", "-t", "100", "-s", "-m", mode, "stop")
        _await_end(folders)
    return True


def status(home: Path) -> ServerStatus:
    """Report on the server of `home` without starting or asking it."""
    folders = Folders.of(home)
    postmaster = find_postmaster(folders)
    return ServerStatus(
        running=postmaster is not None,
        pid=postmaster.pid if postmaster else None,
        version=data_version(folders.data),
        data=folders.data,
        socket_dir=folders.socket,
        started_at=postmaster.started_at if postmaster else None,
    )


def server_url(home: Path, database: str) -> URL:
    """Return the URL of a database on the server of `home`; whether it runs does not matter."""
    socket = str(Folders.of(home).socket)
    # The port names the socket's file; said, so that nobody's PGPORT does.
    return URL.create("postgresql+psycopg2", username="postgres", port=5432, database=database, query={"host": socket})


@contextmanager
def ephemeral_server() -> Generator[Path]:
    """Yield the home of a fresh server for tests; it goes with this process, however this process ends."""
    home = Path(tempfile.mkdtemp(prefix="neural-", dir=fleeting_folder()))
    # First the watchdog, so that nothing stays behind if we are killed while the server starts.
    with _watchdog(home):
        ensure(home, ephemeral=True)
        yield home


def _watchdog(home: Path) -> subprocess.Popen[bytes]:
    package_folder = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package_folder, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "neural_pipeline.postgres.watchdog", str(home)],
        stdin=subprocess.PIPE,  # the kernel closes it with us, also on SIGKILL
        cwd="/",
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


@contextmanager
def _locked(folders: Folders) -> Generator[None]:
    # flock, not a file's existence: the kernel frees it when its holder is killed. Children do not inherit it.
    try:
        lock = folders.lock.open("a")
    except PermissionError as error:
        raise FolderTaken(str(folders.root)) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _bring_up(programs: Programs, *, ephemeral: bool) -> None:
    folders, launches = programs.folders, 0
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if find_postmaster(folders):  # up, starting, recovering or shutting down: never start a second one
            if _answers(programs):
                return
        elif not living_processes(folders):  # backends outlive a killed postmaster for a moment
            if launches == _LAUNCHES:
                break
            launches += 1
            remove_misleading_locks(folders)
            programs.launch("postgres", "-D", folders.data, *_option_arguments(folders, ephemeral=ephemeral))
        time.sleep(_POLL_SECONDS)
    raise ServerDidNotStart(last_lines(folders.server_log))


def _await_end(folders: Folders) -> None:
    # pg_ctl waits for the pid file to go, which is a moment before the processes do.
    deadline = time.monotonic() + _END_SECONDS
    while find_postmaster(folders) or living_processes(folders):
        if time.monotonic() > deadline:
            raise ServerDidNotStop(last_lines(folders.program_log))
        time.sleep(_POLL_SECONDS)


def _answers(programs: Programs) -> bool:
    folders = programs.folders
    answered = programs.succeeds("pg_isready", "-q", "-h", folders.socket, "-t", "3")
    return answered and find_postmaster(folders) is not None  # a killed postmaster's child may still answer


def _option_arguments(folders: Folders, *, ephemeral: bool) -> list[str]:
    socket = str(folders.socket).replace('"', '""')
    own = {"cluster_name": folders.title, "unix_socket_directories": f'"{socket}"'}
    options = {**_OPTIONS, **(_EPHEMERAL_OPTIONS if ephemeral else {}), **own}
    return [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
