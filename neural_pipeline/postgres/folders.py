"""Where the embedded server keeps its things below a home folder. Paths only: nothing is made or read here."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

# Not tempfile.gettempdir(): that follows TMPDIR, and two processes must find the same socket.
SHORT_FOLDER = Path("/tmp")  # noqa: S108 - folders made here are checked for their owner
_MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - the same
_MEMORY_NEEDED = 4 * 1024**3
_SOCKET_NAME = ".s.PGSQL.5432"
_LONGEST_SOCKET = 99  # bytes; sun_path holds 108 on Linux, 104 on macOS
_NEEDS_NO_ESCAPE = re.compile(r"[A-Za-z0-9_./-]+")


def fleeting_folder() -> Path:
    """Return where things are made that need not outlive a session: in memory, if there are some gigabytes to spare.

    Cloning a database makes a thousand files, for which some disks take ten times as long.
    """
    try:
        found = os.statvfs(_MEMORY_FOLDER)
    except OSError:  # not Linux
        return SHORT_FOLDER
    is_roomy = found.f_bavail * found.f_frsize >= _MEMORY_NEEDED
    return _MEMORY_FOLDER if is_roomy and os.access(_MEMORY_FOLDER, os.W_OK | os.X_OK) else SHORT_FOLDER


@dataclass(frozen=True)
class Folders:
    """The folders of one server; `home` is real and absolute."""

    home: Path

    @classmethod
    def of(cls, home: Path) -> "Folders":
        """Return the folders below `home`, links resolved."""
        return cls(home.expanduser().resolve())

    @property
    def root(self) -> Path:
        """Return the folder that holds everything of the server."""
        return self.home / "postgres"

    @property
    def data(self) -> Path:
        """Return the data folder of Postgres."""
        return self.root / "data"

    @property
    def lock(self) -> Path:
        """Return the file whoever starts or stops the server holds locked."""
        return self.root / "lock"

    @property
    def server_log(self) -> Path:
        """Return the file the server writes to."""
        return self.root / "log" / "server.log"

    @property
    def program_log(self) -> Path:
        """Return the file initdb and the other programs write to."""
        return self.root / "log" / "programs.log"

    @property
    def socket(self) -> Path:
        """Return the folder of the socket: a short one where the path is too long or would need escaping in a URL."""
        beside = self.root / "run"
        path = beside / _SOCKET_NAME
        if len(os.fsencode(path)) <= _LONGEST_SOCKET and _NEEDS_NO_ESCAPE.fullmatch(str(path)):
            return beside
        return SHORT_FOLDER / f"neural-{os.geteuid()}-{short_hash(self.home)}"

    @property
    def socket_lock(self) -> Path:
        """Return the lock file Postgres puts beside its socket."""
        return self.socket / f"{_SOCKET_NAME}.lock"

    @property
    def title(self) -> str:
        """Return the name the server's processes show, by which they are known where /proc hides their folder."""
        return f"neural-{short_hash(self.data)}"


def short_hash(path: Path) -> str:
    """Return eight hex digits that stand for a path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
