"""Two promises between processes, kept as advisory locks so that they end with the process that made them."""

from dataclasses import dataclass

from sqlalchemy import Connection

from neural_pipeline.store.sql import rows, scalar

_DAEMON = "hashtext('neural.daemon'), 0"
_DRAIN = "hashtext('neural.drain'), 0"


def become_daemon(connection: Connection) -> bool:
    """Claim the one place for a daemon on this database, for the life of the connection; False if it is taken."""
    return bool(scalar(connection, f"select pg_try_advisory_lock({_DAEMON})"))


@dataclass(frozen=True, slots=True)
class DaemonPlace:
    """Who holds the daemon's place: the server process of its connection, and for how many seconds it has been open.

    The seconds are None where the server does not tell this role.
    """

    pid: int
    seconds: float | None


def daemon_place_of(connection: Connection) -> DaemonPlace | None:
    """Return who holds the daemon's place on this database, None if nobody does."""
    sql = """
    select l.pid, extract(epoch from clock_timestamp() - a.backend_start)::float as seconds
    from pg_locks l left join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.objid = 0
      and l.classid = cast(cast(hashtext('neural.daemon') as bigint) & 4294967295 as oid)
      and l.database = (select oid from pg_database where datname = current_database())
    """
    found = rows(connection, sql)
    return DaemonPlace(**found[0]) if found else None


def start_draining(connection: Connection) -> None:
    """Ask inbox sensors to assign nothing new, for the life of the connection."""
    scalar(connection, f"select pg_advisory_lock({_DRAIN})")


def is_draining(connection: Connection) -> bool:
    """Tell whether somebody asks for nothing new; until the end of the transaction nobody can start to."""
    return not scalar(connection, f"select pg_try_advisory_xact_lock_shared({_DRAIN})")
