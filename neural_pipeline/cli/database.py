"""The database made ready for a command: server, schemas and migrations; each obstacle ends as one line."""

from collections.abc import Callable

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from neural_pipeline.cli.output import ExitCode
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.postgres import server
from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.requirements import check_server, describe_connection_error
from neural_pipeline.postgres.target import DAGSTER_SCHEMA, EMBEDDED_DATABASE, Target, resolve_database
from neural_pipeline.settings import Settings
from neural_pipeline.store.database import engine_for
from neural_pipeline.store.migrate import upgrade
from neural_pipeline.store.revision import SCHEMA_REVISION, current_revision

_NOT_RUNNING = "the database is not running: start it with `neural db start`"
_NOT_UPGRADED = "the database does not have this program's tables yet: run `neural db upgrade`"
_FROM_THE_FUTURE = "the database was made by a newer version of this program: use that one"


def prepare_database(settings: Settings, *, notify: Callable[[str], None]) -> Target:
    """Have a database that is up, suitable and migrated, starting the embedded server if it is the one.

    `notify` is given lines for people. Raises PostgresError, Refusal, BatchesStillOpen, SchemaFromTheFuture.
    """
    target = resolve_database(settings)
    if target.note:
        notify(target.note)
    if target.embedded:
        server.ensure(target.home)
    return migrate_database(target, notify=notify)


def migrate_database(target: Target, *, notify: Callable[[str], None]) -> Target:
    """Bring the database of a running server to this program's schema, and make the schema of Dagster's tables."""
    require_running(target)
    if target.embedded:
        create_database(server.server_url(target.home, "postgres"), EMBEDDED_DATABASE)
    with reach(target.url) as connection:
        check_server(connection)
    _make_dagster_schema(target.dagster_url)
    if upgrade(engine_for(target.url)):
        notify(f"the database was brought to revision {SCHEMA_REVISION}")
    return target


def ready_engine(settings: Settings) -> Engine:
    """Return the engine of a database that answers and has this program's tables; raises Refusal."""
    target = resolve_database(settings)
    require_running(target)
    with reach(target.url) as connection:
        found = current_revision(connection)
    if found is None or found < SCHEMA_REVISION:
        raise Refusal(_NOT_UPGRADED, ExitCode.DATABASE)
    if found > SCHEMA_REVISION:
        raise Refusal(_FROM_THE_FUTURE, ExitCode.DATABASE)
    return engine_for(target.url)


def require_running(target: Target) -> None:
    """Raise Refusal when the database is the embedded one and its server does not run."""
    if target.embedded and not server.status(target.home).running:
        raise Refusal(_NOT_RUNNING, ExitCode.DATABASE)


def reach(url: URL) -> Connection:
    """Connect to a database; raises Refusal, which says why that failed and shows no password."""
    try:
        return engine_for(url).connect()
    except DBAPIError as error:
        raise Refusal(describe_connection_error(error, url), ExitCode.DATABASE) from error


def _make_dagster_schema(url: URL) -> None:
    with reach(url) as connection, connection.begin():
        if DAGSTER_SCHEMA in str(url.query.get("options", "")):
            # `if not exists` alone fails when two processes get here at once.
            connection.execute(text("select pg_advisory_xact_lock(hashtext('neural.upgrade'))"))
            connection.execute(text(f"create schema if not exists {DAGSTER_SCHEMA}"))
