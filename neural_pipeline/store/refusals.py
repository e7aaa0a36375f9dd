"""Errors of the database: the fault of the data, of the circumstances, or of neither."""

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError

_OF_DATA = ("P0", "54")
"""SQLSTATE classes: raised by a trigger, program limit exceeded."""

_OF_CIRCUMSTANCES = ("08", "25", "28", "40", "42", "53", "55", "57", "58")
"""SQLSTATE classes: connection, transaction state (read-only), authorization, rollback, access rule or missing table,
insufficient resources (disk full), object not in its state, operator intervention, system error."""

_OF_THE_STATEMENT = frozenset({"53200", "57014"})
"""Out of memory, and cancelled (by a statement time-out): the same event may bring that about every time."""


def is_fault_of_data(error: BaseException) -> bool:
    """Tell what an event's own data bring about, refusals of triggers and exceeded limits of Postgres included."""
    if not isinstance(error, DBAPIError):
        return False
    return isinstance(error, DataError | IntegrityError) or _code(error).startswith(_OF_DATA)


def is_fault_of_circumstances(error: BaseException | None) -> bool:
    """Tell what no event can be blamed for: an outage, a full disk, a right or a table that is missing.

    The error that an error was raised from is looked at too.
    """
    while error is not None:
        if isinstance(error, DBAPIError) and not is_fault_of_data(error):
            code = _code(error)
            if code in _OF_THE_STATEMENT:
                return False
            return code.startswith(_OF_CIRCUMSTANCES) or (
                not code and isinstance(error, OperationalError | InterfaceError)
            )
        error = error.__cause__ or error.__context__
    return False


def describe_refusal(error: BaseException | None) -> str:
    """Return the SQLSTATE of a database error, or its class where there is none, in at most 30 characters."""
    while error is not None and not isinstance(error, DBAPIError):
        error = error.__cause__ or error.__context__
    return (_code(error) or type(error).__name__)[:30] if error is not None else "unknown"


def _code(error: DBAPIError) -> str:
    return str(getattr(error.orig, "pgcode", None) or "")
