"""Which database the pipeline works in: the one DATABASE_URL names, or the embedded one below the home folder."""

import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from neural_pipeline.postgres.account import Account, can_enter, server_account
from neural_pipeline.postgres.errors import DatabaseUrlRefused, FolderTaken
from neural_pipeline.postgres.folders import Folders, short_hash
from neural_pipeline.postgres.server import server_url
from neural_pipeline.settings import Settings

EMBEDDED_DATABASE = "neural"
DAGSTER_SCHEMA = "neural_dagster"
_SYSTEM_FALLBACK = Path("/var/lib/neural_pipeline")
_DRIVER = "postgresql+psycopg2"
_EXPECTED = "write postgresql://user:password@host:5432/database"


@dataclass(frozen=True)
class Target:
    """The databases of one installation; `home` is the folder everything else uses, `note` says why it moved."""

    url: URL
    dagster_url: URL
    embedded: bool
    home: Path
    note: str | None


def resolve_database(settings: Settings) -> Target:
    """Decide where the pipeline works; makes the fallback folder if one is needed, starts nothing."""
    given = normalised(settings.database_url.get_secret_value()) if settings.database_url else None
    account = _kept_out_of(settings.home)
    homes = _fallbacks(settings.home) if account else [settings.home]
    if given is not None and not any(_same_database(given, server_url(home, EMBEDDED_DATABASE)) for home in homes):
        return Target(given, _dagster_url(settings, given), embedded=False, home=settings.home, note=None)
    # Nothing was given, or our own URL was handed down to a child process.
    home = _first_usable(homes) if account else settings.home
    url = server_url(home, EMBEDDED_DATABASE)
    note = _moved_note(settings.home, home, account) if account else None
    return Target(url, _dagster_url(settings, url), embedded=True, home=home, note=note)


def normalised(text: str) -> URL:
    """Read a Postgres URL of any driver as one for psycopg2; raises DatabaseUrlRefused, which shows nothing of it."""
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise DatabaseUrlRefused(f"it is not a URL; {_EXPECTED}.") from None
    if url.drivername.split("+")[0] not in {"postgres", "postgresql"}:
        raise DatabaseUrlRefused(f"it does not name a Postgres server; {_EXPECTED}.")
    if "@" in (url.host or ""):
        raise DatabaseUrlRefused("its password contains @; write %40 instead.")
    return _with_password_in_place(url.set(drivername=_DRIVER))


def _with_password_in_place(url: URL) -> URL:
    # SQLAlchemy hides a password when it shows a URL, but not one given as ?password=; it needs a user beside it.
    password = url.query.get("password")
    if password is None:
        return url
    user = url.username or str(url.query.get("user", ""))
    return url.difference_update_query(["user", "password"]).set(username=user, password=url.password or str(password))


def _same_database(one: URL, other: URL) -> bool:
    place_of_one, place_of_other = ((url.host, url.query.get("host"), url.port, url.database) for url in (one, other))
    return place_of_one == place_of_other


def _dagster_url(settings: Settings, url: URL) -> URL:
    if settings.dagster_url is not None:
        return normalised(settings.dagster_url.get_secret_value())
    search_path = f"-csearch_path={DAGSTER_SCHEMA}"
    given = url.query.get("options")
    options = search_path if given is None else f"{given} {search_path}"
    return url.update_query_dict({"options": options})


def _kept_out_of(home: Path) -> Account | None:
    account = server_account(Folders.of(home).data)
    if account is None or can_enter(account, _nearest_existing(home.resolve().parent)):
        return None
    return account


def _moved_note(home: Path, fallback: Path, account: Account) -> str:
    return f"using {fallback} instead of {home}: Postgres runs as {account.name}, who cannot enter {home.parent}"


def _nearest_existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _fallbacks(home: Path) -> list[Path]:
    real = home.resolve()
    checkout = real.parent.name if real.name.startswith(".") else real.name
    plain_name = re.sub(r"[^A-Za-z0-9._-]", "-", checkout)[:40]
    temporary = f"neural_pipeline-{os.geteuid()}-{short_hash(real)}"
    return [_SYSTEM_FALLBACK / f"{plain_name}-{short_hash(real)}", Path(tempfile.gettempdir()) / temporary]


def _first_usable(folders: list[Path]) -> Path:
    for folder in folders[:-1]:
        with suppress(OSError):
            return _own_folder(folder)
    return _own_folder(folders[-1])


def _own_folder(folder: Path) -> Path:
    if not folder.parent.exists():
        folder.parent.mkdir(parents=True)
        folder.parent.chmod(0o755)
    folder.mkdir(mode=0o711, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise FolderTaken(str(folder))
    return folder
