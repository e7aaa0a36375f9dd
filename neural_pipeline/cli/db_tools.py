"""`neural db psql` and `neural db remove`: SQL on the right database, and the end of all data of an installation."""

import os
import shutil
import subprocess
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


def psql(context: typer.Context) -> None:
    """Open psql on the database; what follows is passed on: neural db psql -c "select 1"."""
    target = resolve_database(Settings.load())
    require_running(target)
    finished = subprocess.run(
        [bundled_program("psql"), *context.args],
        check=False,
        env={**os.environ, **_address(target.url)},
    )
    raise typer.Exit(finished.returncode)


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
    """Stop the embedded server and delete the folder of all data, which `neural settings` names as home."""
    target = resolve_database(Settings.load())
    if not target.embedded:
        raise Refusal("DATABASE_URL names a database that is not ours to remove")
    if not yes:
        raise Refusal(f"this deletes {target.home} with all data: say --yes if that is meant")
    server.stop(target.home)
    shutil.rmtree(target.home, ignore_errors=True)
    say(f"removed {target.home}")
