"""The unprivileged account the server runs as when we are root, which Postgres refuses to be."""

import contextlib
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from neural_pipeline.postgres.errors import NoAccount

_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int


def server_account(data: Path) -> Account | None:
    """Return the account the server of `data` has to run as; None when that is our own."""
    if os.geteuid() != 0:
        return None
    return _owner(data) or _existing_account()


def can_enter(account: Account, path: Path) -> bool:
    """Tell whether an account gets as far as `path`, and into or through it."""
    test = subprocess.run(
        ["test", "-x", str(path)], user=account.uid, group=account.gid, extra_groups=[], cwd="/", check=False
    )
    return test.returncode == 0


def _owner(data: Path) -> Account | None:
    # Whoever owns the data keeps it, also when an account that would come first is added later.
    try:
        found = data.stat()
    except FileNotFoundError:
        return None
    return None if found.st_uid == 0 else Account(_name(found.st_uid), found.st_uid, found.st_gid)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _existing_account() -> Account:
    for name in _CANDIDATES:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise NoAccount
