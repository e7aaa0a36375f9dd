"""`neural db`: the server and the schema, one command each. The work is in `database` and `postgres`."""

from typing import Annotated

import typer
from sqlalchemy.engine import URL

from neural_pipeline.cli import db_tools
from neural_pipeline.cli.database import migrate_database, prepare_database, reach, require_running
from neural_pipeline.cli.output import ExitCode, say, warn
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.postgres import server
from neural_pipeline.postgres.target import Target, resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.revision import SCHEMA_REVISION, current_revision

app = typer.Typer()
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(db_tools.psql)
app.command()(db_tools.remove)


@app.command()
def start() -> None:
    """Start the embedded server if it does not run, make the databases and bring them up to date.

    With DATABASE_URL set, check that server instead and bring the database it names up to date.
    """
    target = prepare_database(Settings.load(), notify=warn)
    say(f"ready: {_shown(target.url)}")


@app.command()
def stop() -> None:
    """Stop the embedded server; one that DATABASE_URL names is not ours to stop."""
    target = resolve_database(Settings.load())
    if not target.embedded:
        raise Refusal("DATABASE_URL names a server that this program did not start: stop it where it was started")
    say("stopped" if server.stop(target.home) else "it was not running")


@app.command()
def status() -> None:
    """Tell whether the database runs and which schema it has; exit code 3 if it does not run."""
    target = resolve_database(Settings.load())
    if target.embedded:
        _report_server(target)
    say(f"url      {_shown(target.url)}")
    try:
        require_running(target)
        with reach(target.url) as connection:
            found = current_revision(connection)
    except Refusal as refusal:
        warn(str(refusal))
        raise typer.Exit(ExitCode.NOT_RUNNING) from None
    current = "" if found == SCHEMA_REVISION else f" (this program: {SCHEMA_REVISION}; run `neural db upgrade`)"
    say(f"schema   {found or 'none'}{current}")


def _report_server(target: Target) -> None:
    found = server.status(target.home)
    state = f"running, process {found.pid}, since {found.started_at}" if found.running else "not running"
    say(f"server   embedded Postgres {found.version or ''}, {state}")
    say(f"data     {found.data}")


@app.command()
def url(
    *,
    dagster: Annotated[bool, typer.Option("--dagster", help="The URL of Dagster's storage, for SQLAlchemy.")] = False,
    show_password: Annotated[bool, typer.Option("--show-password", help="Show the password, if there is one.")] = False,
) -> None:
    """Print the URL of the database, and nothing else: `psql "$(neural db url)"`."""
    target = resolve_database(Settings.load())
    if dagster:
        typer.echo(_shown(target.dagster_url, show_password=show_password, driver=target.dagster_url.drivername))
    else:
        typer.echo(_shown(target.url, show_password=show_password))


@app.command()
def upgrade() -> None:
    """Bring the schema of a running database up to date; waits for runs that are working."""
    migrate_database(resolve_database(Settings.load()), notify=say)
    say(f"at revision {SCHEMA_REVISION}")


def _shown(url: URL, *, show_password: bool = False, driver: str = "postgresql") -> str:
    """Write a URL so that libpq reads it too, to which a plus sign is no blank."""
    secrets = {} if show_password else dict.fromkeys({"sslpassword"} & url.query.keys(), "***")
    rendered = url.set(drivername=driver).update_query_dict(secrets).render_as_string(hide_password=not show_password)
    place, mark, query = rendered.partition("?")
    return place + mark + query.replace("+", "%20")
