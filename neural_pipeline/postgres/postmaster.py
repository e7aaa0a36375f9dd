"""Finding the server's processes. An id in a file proves nothing: it may be dead, a zombie or another program's."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from neural_pipeline.postgres.errors import FolderTaken
from neural_pipeline.postgres.folders import Folders


@dataclass(frozen=True)
class Postmaster:
    """The living first process of a server."""

    pid: int
    started_at: datetime


def find_postmaster(folders: Folders) -> Postmaster | None:
    """Return the server's first process if it lives, whether it starts, serves or shuts down."""
    lines = _read_lines(folders.data / "postmaster.pid")
    try:
        pid, started = int(lines[0]), int(lines[2])
        lives = _serves(psutil.Process(pid), folders)
    except (IndexError, ValueError, psutil.NoSuchProcess):
        return None
    return Postmaster(pid, datetime.fromtimestamp(started, UTC)) if lives else None


def living_processes(folders: Folders) -> list[psutil.Process]:
    """Return every process of the server, among them those that outlive a killed postmaster."""
    return list(_living(folders))


def remove_misleading_locks(folders: Folders) -> None:
    """Remove lock files that name a living process; call only when no process of the server lives."""
    for lock in (folders.data / "postmaster.pid", folders.socket_lock):
        with suppress(IndexError, ValueError):
            if psutil.pid_exists(abs(int(_read_lines(lock)[0]))):
                lock.unlink(missing_ok=True)


def _living(folders: Folders) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if _serves(process, folders):
                yield process


def _serves(process: psutil.Process, folders: Folders) -> bool:
    try:
        words = process.cmdline()  # a zombie has none: psutil raises NoSuchProcess
        if not words:
            return False
        if "-D" in words and str(folders.data) in words:
            return True
        if words[0].startswith(f"postgres: {folders.title}:"):
            return True
        # After the folder was moved only this is left; root in a container may not look.
        return process.name() == "postgres" and Path(process.cwd()) == folders.data
    except psutil.AccessDenied:
        return False


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise FolderTaken(str(path.parent)) from error
