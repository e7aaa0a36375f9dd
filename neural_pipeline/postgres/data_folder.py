"""Making the folders of the embedded server, with the owner and the rights Postgres insists on."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

from neural_pipeline.postgres.account import Account, can_enter
from neural_pipeline.postgres.binaries import MAJOR_VERSION
from neural_pipeline.postgres.errors import DataFolderUnknown, FolderTaken, FolderUnreachable
from neural_pipeline.postgres.folders import Folders
from neural_pipeline.postgres.programs import Programs

_UNFINISHED = "data.new-"


def make_root(folders: Folders) -> None:
    """Make the folder that holds the server's things; raises FolderTaken where it cannot be written."""
    try:
        (folders.root / "log").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderTaken(str(folders.home)) from error
    if not os.access(folders.root, os.W_OK):
        raise FolderTaken(str(folders.root))


def open_to(account: Account, folders: Folders) -> None:
    """Let the server's account through to its folders; raises FolderUnreachable when a parent does not let it."""
    for folder in (folders.home, folders.root):
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o711)
    if not can_enter(account, folders.root):
        raise FolderUnreachable(f"(account {account.name}, folder {folders.root})")


def make_socket_folder(folders: Folders, account: Account | None) -> None:
    """Make the folder of the socket, which only the server's account (and root) may enter."""
    folders.socket.mkdir(mode=0o700, exist_ok=True)
    _require_own(folders.socket, account)
    _give(folders.socket, account)


def make_data(programs: Programs, *, durable: bool) -> None:
    """Make the data folder unless it is there; a killed attempt leaves nothing that looks like one."""
    data = programs.folders.data
    if not (data / "PG_VERSION").exists():
        _initialise(programs, durable=durable)
    _require_own(data, programs.account)
    if (made_by := data_version(data)) != MAJOR_VERSION:
        raise DataFolderUnknown(f"({data} was made by Postgres {made_by}, this is {MAJOR_VERSION})")


def data_version(data: Path) -> str | None:
    """Return the major version of the Postgres that made a data folder."""
    try:
        return (data / "PG_VERSION").read_text().strip()
    except (FileNotFoundError, PermissionError):
        return None


def _initialise(programs: Programs, *, durable: bool) -> None:
    root = programs.folders.root
    for abandoned in root.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    # A new name each time: the initdb of a killed starter may still be writing into the old one.
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=root))
    _give(unfinished, programs.account)
    locale = ("-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    speed = () if durable else ("--no-sync",)
    programs.require("initdb", "-D", unfinished, "-U", "postgres", "-A", "trust", "--no-instructions", *locale, *speed)
    _move_into_place(unfinished, programs.folders.data)


def _move_into_place(unfinished: Path, data: Path) -> None:
    try:
        unfinished.rename(data)
    except OSError as error:
        raise DataFolderUnknown(f"({data} holds something else)") from error


def _require_own(folder: Path, account: Account | None) -> None:
    found = folder.lstat()
    owners = {os.geteuid(), account.uid if account else os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        raise FolderTaken(str(folder))


def _give(folder: Path, account: Account | None) -> None:
    folder.chmod(0o700)
    if account is not None:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)
