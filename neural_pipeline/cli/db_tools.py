"""`neural db psql` and `neural db remove`: SQL on the right database, and the end of all data of an installation."""

import os
import shutil
import subprocess
from contextlib import suppress
from typing import Annotated

import typer
from sqlalchemy.engine import URL

from neural_pipeline.cli.database import require_running
from neural_pipeline.cli.output import say
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.postgres import server
from neural_pipeline.postgres.binaries import bundled_program
from neural_pipeline.postgres.target import resolve_database
from neural_pipeline.settings import Settings

OWN_FOLDERS = ("postgres", "dagster", "logs", "reports", "matplotlib")
"""What this program makes in its home folder."""


def psql(context: typer.Context) -> None:
    """Open psql on the database; what follows is passed on: neural db psql -c "select 1"."""
    target = resolve_database(Settings.load())
    require_running(target)
    finished = subprocess.run(
        [bundled_program("psql"), *context.args],
        check=False,
        env={**_without_own_address(), **_address(target.url)},
    )
    raise typer.Exit(finished.returncode)


def _without_own_address() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _address(url: URL) -> dict[str, str]:
    """Return the address as variables: a password in the arguments would be seen by everybody on the machine."""
    host = url.host or str(url.query.get("host", ""))
    known = {"PGHOST": host, "PGPORT": url.port, "PGUSER": url.username, "PGDATABASE": url.database}
    secret = {} if url.password is None else {"PGPASSWORD": str(url.password)}
    options = {f"PG{name.upper()}": str(value) for name, value in url.query.items() if name != "host"}
    return {name: str(value) for name, value in known.items() if value} | secret | options


def remove(
    *, yes: Annotated[bool, typer.Option("--yes", help="Do it: all data of this installation is lost.")] = False
) -> None:
    """Stop the embedded server and delete all data of this installation; other files in its home folder stay."""
    target = resolve_database(Settings.load())
    if not target.embedded:
        raise Refusal("DATABASE_URL names a database that is not ours to remove")
    if not yes:
        raise Refusal(f"this deletes {target.home} with all data: say --yes if that is meant")
    if not (target.home / "postgres").exists():
        raise Refusal(f"there is no data of this program in {target.home}")
    server.stop(target.home)
    for folder in (target.home / name for name in OWN_FOLDERS):
        if folder.exists():
            shutil.rmtree(folder)
    with suppress(OSError):  # something of somebody else's is left in it
        target.home.rmdir()
    say(f"removed the data in {target.home}")
