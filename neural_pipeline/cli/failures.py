"""Errors as the command line tells them: an exit code and one line that says what to do."""

import inspect

from sqlalchemy.exc import DBAPIError

from neural_pipeline.cli.output import ExitCode
from neural_pipeline.cli.refusal import Refusal
from neural_pipeline.postgres.errors import PostgresError
from neural_pipeline.settings import SettingsInvalid
from neural_pipeline.sources.errors import HistoryUnavailable
from neural_pipeline.store.migrate import BatchesStillOpen, SchemaFromTheFuture

_NOT_UPGRADED = {"42P01", "42703", "3F000"}
"""A table, a column or a schema is missing."""

_LOCK_NOT_AVAILABLE = "55P03"


def described(error: Exception) -> tuple[int, str]:
    """Return exit code and message of an error that no command has handled."""
    match error:
        case Refusal():
            return error.code, str(error)
        case SettingsInvalid():
            return ExitCode.USAGE, f"a setting cannot be used: {error} (see `neural settings`)"
        case HistoryUnavailable():
            return ExitCode.USAGE, str(error)
        case PostgresError() | BatchesStillOpen() | SchemaFromTheFuture():
            return ExitCode.DATABASE, str(error) or inspect.getdoc(error) or type(error).__name__
        case DBAPIError():
            return ExitCode.DATABASE, _database_error(error)
        case OSError():
            return ExitCode.USAGE, f"{error.filename or 'the input'}: {error.strerror or error}"
        case _:
            problem = f"unexpected {type(error).__name__}: {error}"
            return ExitCode.UNEXPECTED, f"{problem[:300]} (`neural --debug ...` shows where)"


def _database_error(error: DBAPIError) -> str:
    if getattr(error.orig, "pgcode", None) in _NOT_UPGRADED:
        return "the database lacks tables of this program: run `neural db upgrade`"
    if getattr(error.orig, "pgcode", None) == _LOCK_NOT_AVAILABLE:
        return "somebody has held the same rows for ten seconds: try again, or see `neural doctor`"
    reason = str(error.orig or error).strip().partition("\n")[0]
    if error.connection_invalidated:
        return f"the connection to the database was lost ({reason}): see `neural db status`"
    return f"the database refused: {reason}"
