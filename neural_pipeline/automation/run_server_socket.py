"""Where the run server is reached and how it is spoken to: one JSON object per line over a Unix socket.

Only the same user may connect: the socket's mode says so, and where its folder is below a shared one, that one's too.
"""

import hashlib
import json
import os
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from neural_pipeline.postgres.folders import SHORT_FOLDER
from neural_pipeline.settings import Settings, masked_url

LONGEST_PATH = 100
"""Bytes; the systems' own limits are 103 and 107."""

_LONGEST_LINE = 64 * 1024


class AddressInUse(Exception):
    """Another run server answers at this path."""


class FolderNotPrivate(Exception):
    """The folder for the socket belongs to somebody else, or others may enter it."""


def place_of(settings: Settings, *, dagster_home: Path) -> Path:
    """Return the path of the socket of a Dagster home and the database that the settings name for it."""
    url = settings.dagster_url
    return place(dagster_home, masked_url(url.get_secret_value()) if url else "")


def place(home: Path, database: str) -> Path:
    """Return the path of the socket of a Dagster home and a database, named without its secrets.

    Who works in another database must not have the runs of this one.
    """
    name = hashlib.sha256(f"{home.resolve()}\n{database}".encode()).hexdigest()[:16]
    near = home.resolve() / f"run_server-{name}.sock"
    return near if len(os.fsencode(near)) <= LONGEST_PATH else _shared_place() / f"{name}.sock"


def _shared_place() -> Path:
    return SHORT_FOLDER / f"neural_pipeline-{os.geteuid()}-sockets"


def _require_private(folder: Path) -> None:
    """Raise FolderNotPrivate where somebody else could put another socket into the folder of the long names."""
    if folder != _shared_place():
        return
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise FolderNotPrivate(str(folder))


def listen(path: Path) -> socket.socket:
    """Return a socket that listens at a path; raises AddressInUse where another one answers there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_private(path.parent)
    if _is_answering(path):
        raise AddressInUse(str(path))
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(64)
    return listener


def _is_answering(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


class Line:
    """One end of a connection."""

    def __init__(self, connection: socket.socket, *, seconds: float | None) -> None:
        self.connection = connection
        connection.settimeout(seconds)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; raises OSError."""
        self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """Wait for a message; raises EOFError, OSError (a time-out too) and ValueError."""
        received = b""
        while not received.endswith(b"\n"):
            piece = self.connection.recv(_LONGEST_LINE)
            if not piece:
                raise EOFError("the connection was closed")
            received += piece
            if len(received) > _LONGEST_LINE:
                raise ValueError("the line is too long")
        message: object = json.loads(received)
        if not isinstance(message, dict):
            raise ValueError("not a message")
        return cast("dict[str, Any]", message)


@contextmanager
def line_to(path: Path, *, seconds: float) -> Generator[Line]:
    """Connect to the server at a path; raises OSError, FolderNotPrivate."""
    _require_private(path.parent)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        line = Line(connection, seconds=seconds)
        connection.connect(str(path))
        yield line
