"""Connections for looking only: bounded in time, read-only, and every refusal told as a finding."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from neural_pipeline.cli.findings import Finding, failed

Read = Callable[[Connection], Finding]

_CONNECT_SECONDS = 5
_TOO_SLOW = "57014"
_NOT_ALLOWED = "42501"


@contextmanager
def cautious_engine(url: URL, *, patience: float) -> Generator[Engine]:
    """Yield an engine of one connection on which nothing takes longer than `patience` seconds."""
    bounded = url.update_query_dict({"connect_timeout": _connect_seconds(patience)})
    engine = create_engine(bounded, pool_size=1, max_overflow=0, pool_pre_ping=True, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def limit(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"set statement_timeout = {patience * 1000:.0f}; set application_name = 'neural doctor'")
        cursor.close()
        connection.commit()

    try:
        yield engine
    finally:
        engine.dispose()


def cautious_url(url: URL, *, patience: float) -> URL:
    """Return a URL whose connections are bounded in time and read-only, for whoever makes its own engine."""
    limits = f"-cstatement_timeout={patience * 1000:.0f} -cdefault_transaction_read_only=on"
    given = url.query.get("options")
    options = limits if given is None else f"{given} {limits}"
    return url.update_query_dict({"options": options, "connect_timeout": _connect_seconds(patience)})


def _connect_seconds(patience: float) -> str:
    return f"{min(patience, _CONNECT_SECONDS):.0f}"


def ask(engine: Engine, check: str, read: Read, *, patience: float, may_write: bool = False) -> Finding:
    """Make a check in a transaction of its own, which is rolled back; what the database refuses is a finding too."""
    try:
        with engine.connect() as connection:
            return read(connection.execution_options(postgresql_readonly=not may_write))
    except DBAPIError as error:
        return _refused(check, error, patience=patience)


def _refused(check: str, error: DBAPIError, *, patience: float) -> Finding:
    code = getattr(error.orig, "pgcode", None)
    if code == _TOO_SLOW:
        longer = f"`neural doctor --timeout {patience * 6:.0f}`"
        return failed(check, f"no answer within {patience:.0f} s", f"{longer}, or see what locks the tables")
    reason = str(error.orig or error).strip().partition("\n")[0]
    todo = "give the role its rights on the tables" if code == _NOT_ALLOWED else "`neural db status`"
    return failed(check, f"the database refused: {reason}", todo)
