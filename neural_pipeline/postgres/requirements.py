"""What the pipeline needs of a Postgres server, each lack told on one line, as are failures to connect. No secrets."""

from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from neural_pipeline.postgres.errors import ServerUnsuitable

OLDEST_VERSION = 14

_FACTS = text("""
    select current_setting('server_version_num')::int / 10000 as major,
           current_setting('server_version') as version,
           current_database() as database,
           current_user as role,
           current_setting('transaction_read_only') = 'on' as read_only,
           exists (select from pg_available_extensions where name = 'vector') as vector_available,
           exists (select from pg_extension where extname = 'vector') as vector_installed,
           has_database_privilege(current_database(), 'create') as may_create_schemas,
           coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'create'), false) as may_create_tables
""")


@dataclass(frozen=True)
class _Facts:
    major: int
    version: str
    database: str
    role: str
    read_only: bool
    vector_available: bool
    vector_installed: bool
    may_create_schemas: bool
    may_create_tables: bool


def check_server(connection: Connection) -> None:
    """Raise ServerUnsuitable, naming what to do, unless the pipeline can work in this database.

    Changes nothing; needs a connection that is not in autocommit.
    """
    facts = _Facts(**connection.execute(_FACTS).mappings().one())
    for problem in (_server_problem(facts), _vector_problem(connection, facts), _privilege_problem(facts)):
        if problem:
            raise ServerUnsuitable(problem)


def describe_connection_error(exc: Exception, url: URL) -> str:
    """Say on one line which database could not be reached and why; the password never appears."""
    reason = " ".join(str(getattr(exc, "orig", None) or exc).split())
    for secret in _secrets(url):
        reason = reason.replace(secret, "***")
    return f"cannot connect to database {url.database} at {_address(url)} as user {url.username}: {reason}"


def _server_problem(facts: _Facts) -> str | None:
    if facts.major < OLDEST_VERSION:
        return f"it is version {facts.version}; use Postgres {OLDEST_VERSION} or later."
    if facts.read_only:
        return f"database {facts.database} is read-only (a standby?); use the primary server."
    return None


def _vector_problem(connection: Connection, facts: _Facts) -> str | None:
    if facts.vector_installed:
        return None
    if not facts.vector_available:
        return (
            "the extension pgvector is not installed on the server; install it there (package postgresql-NN-pgvector)."
        )
    if _can_create_vector(connection):
        return None
    return (
        f"role {facts.role} may not create the extension vector; "
        f"run `create extension vector` in database {facts.database} as a superuser."
    )


def _can_create_vector(connection: Connection) -> bool:
    # Tried, not asked: hosted servers let roles create it that the catalogue does not name.
    attempt = connection.begin_nested()
    try:
        connection.execute(text("create extension vector"))
    except DBAPIError:
        return False
    finally:
        attempt.rollback()
    return True


def _privilege_problem(facts: _Facts) -> str | None:
    if not facts.may_create_schemas:
        grant = f'grant create on database "{facts.database}" to "{facts.role}"'
        return f"role {facts.role} may not create schemas; run `{grant}` as the owner."
    if not facts.may_create_tables:
        grant = f'grant create on schema public to "{facts.role}"'
        return f"role {facts.role} may not create tables in schema public; run `{grant}` as the owner."
    return None


def _address(url: URL) -> str:
    host = url.host or url.query.get("host") or "the local socket"
    return f"{host}:{url.port}" if url.port else str(host)


def _secrets(url: URL) -> set[str]:
    plain = {str(secret) for secret in (url.password, url.query.get("sslpassword")) if secret}
    return plain | {encode(secret) for secret in plain for encode in (quote, quote_plus)}
