"""Two promises between processes, kept as advisory locks so that they end with the process that made them."""

from sqlalchemy import Connection

from neural_pipeline.store.sql import scalar

_DAEMON = "hashtext('neural.daemon'), 0"
_DRAIN = "hashtext('neural.drain'), 0"


def become_daemon(connection: Connection) -> bool:
    """Claim the one place for a daemon on this database, for the life of the connection; False if it is taken."""
    return bool(scalar(connection, f"select pg_try_advisory_lock({_DAEMON})"))


def start_draining(connection: Connection) -> None:
    """Ask inbox sensors to assign nothing new, for the life of the connection."""
    scalar(connection, f"select pg_advisory_lock({_DRAIN})")


def is_draining(connection: Connection) -> bool:
    """Tell whether somebody asks for nothing new; until the end of the transaction nobody can start to."""
    return not scalar(connection, f"select pg_try_advisory_xact_lock_shared({_DRAIN})")
