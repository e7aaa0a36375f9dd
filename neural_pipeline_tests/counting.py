"""Counting what is sent to the database, COPY and all that goes past SQLAlchemy included; begin and commit are not."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg2.extensions
from sqlalchemy import Engine, event

_PING = "select 1"
"""The pool asks a connection that has rested whether it is still there."""


@dataclass(slots=True)
class Count:
    """How often each statement was sent, by step; `step` names what comes next."""

    step: str = ""
    sent: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])

    def note(self, query: Any, times: int = 1) -> None:
        """Count a statement."""
        statement = " ".join((query.decode() if isinstance(query, bytes) else str(query)).split())
        if statement.lower() != _PING:
            self.sent.setdefault(self.step, Counter())[statement] += times

    def numbers(self) -> dict[str, int]:
        """Return how many statements each step took."""
        return {step: statements.total() for step, statements in self.sent.items()}


@contextmanager
def counting(engine: Engine) -> Generator[Count]:
    """Count every statement of an engine's connections, of whichever thread."""
    count = Count()

    class Counting(psycopg2.extensions.cursor):
        def execute(self, query: Any, vars: Any = None) -> Any:  # noqa: A002 - psycopg2's name
            count.note(query)
            return super().execute(query, vars)

        def executemany(self, query: Any, vars_list: Any) -> Any:
            listed = list(vars_list)
            count.note(query, len(listed))
            return super().executemany(query, listed)

        def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> Any:
            count.note(sql)
            return super().copy_expert(sql, file, size)

    def checked_out(connection: Any, *_rest: Any) -> None:
        connection.cursor_factory = Counting

    def checked_in(connection: Any, *_rest: Any) -> None:
        if connection is not None:
            connection.cursor_factory = None

    event.listen(engine, "checkout", checked_out)
    event.listen(engine, "checkin", checked_in)
    try:
        yield count
    finally:
        event.remove(engine, "checkout", checked_out)
        event.remove(engine, "checkin", checked_in)
