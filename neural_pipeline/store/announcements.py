"""What the database announces the moment it is committed, and the places that a dispatcher holds while it acts on it.

Announcements say that something has happened, not what: that stands in the tables. Who misses one finds it there.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import psycopg2
from sqlalchemy import Connection, Engine

from neural_pipeline.store.sql import rows, run, scalar

PLACE = "hashtext('neural.dispatcher'), 0"
"""The lock of the one dispatcher that works on a database."""

PATIENCE = 30.0
"""Seconds for which a dispatcher is trusted to ask for the run of a batch that it has assigned."""


class Channel(StrEnum):
    """What is announced: events wait or something became free for them; outcomes; what Dagster writes of a run."""

    DUE = "neural_due"
    OUTCOMES = "neural_outcomes"
    RUN_EVENTS = "run_events"


class Unheard(Exception):
    """The connection on which announcements came is gone."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A connection of its own, outside the pool, that hears announcements; each of its statements is a transaction."""

    connection: Connection
    _driver: Any
    """Kept: the connection might be made anew behind its back, and would hear nothing then."""

    @classmethod
    def on(cls, connection: Connection, *channels: Channel) -> Self:
        """Hear from now on what is announced on these channels."""
        for channel in channels:
            run(connection, f"listen {channel}")
        return cls(connection, connection.connection.dbapi_connection)

    def fileno(self) -> int:
        """Return the socket, for select; raises Unheard."""
        try:
            return int(self._driver.fileno())
        except psycopg2.Error as error:
            raise Unheard from error

    @property
    def has_heard(self) -> bool:
        """Tell whether something came together with the answer to a statement: the socket does not show that."""
        return bool(self._driver.notifies)

    def heard(self) -> list[tuple[str, str]]:
        """Return what has been announced since the last call, channel and payload, without waiting; raises Unheard."""
        try:
            self._driver.poll()
        except psycopg2.Error as error:
            raise Unheard from error
        announced = [(notice.channel, notice.payload) for notice in self._driver.notifies]
        self._driver.notifies.clear()
        return announced


@contextmanager
def listening(engine: Engine, *channels: Channel) -> Generator[Listener]:
    """Hear announcements for the length of the block."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()
        yield Listener.on(connection, *channels)


@dataclass(frozen=True, slots=True)
class Due:
    """Of which functions events are due, and in how many seconds the next one will be, None if none waits for that."""

    functions: list[str]
    next_in: float | None


_DUE = """
select f.name,
  -- The first in the order of an index: to look for any that is due could mean to look at all that wait.
  coalesce((select e.due_at from incoming_events e
    where e.function_id = f.name and e.batch_id is null and e.outcome is null
    order by e.due_at limit 1) <= statement_timestamp(), false) as is_due,
  (select extract(epoch from e.due_at - clock_timestamp())::float from incoming_events e
   where e.function_id = f.name and e.batch_id is null and e.outcome is null and e.due_at > statement_timestamp()
   order by e.due_at limit 1) as next_in
from unnest(cast(:functions as text[])) as f(name)
"""


def look_for_due(connection: Connection, functions: Sequence[str]) -> Due:
    """Look which functions have events to do, now and next: one entry of an index each."""
    found = rows(connection, _DUE, functions=list(functions))
    coming = [row["next_in"] for row in found if row["next_in"] is not None]
    return Due([row["name"] for row in found if row["is_due"]], min(coming, default=None))


def running_batches(connection: Connection) -> list[tuple[int, str]]:
    """Return the batches that runs are working on, with their runs."""
    sql = "select id, run_id from event_batches where state = 'running' order by id"
    return [(row["id"], row["run_id"]) for row in rows(connection, sql)]


_ASKING = "hashtext('neural.asking'), hashtext(:name)"


@contextmanager
def asking_for_runs(connection: Connection, *, function_id: str) -> Generator[bool]:
    """Hold off the sensor of a function from the batches that are assigned meanwhile, until their runs are launched.

    Gives False while the sensor is at it itself. The connection has statements as transactions; that it ends, with its
    process, ends this too.
    """
    if not scalar(connection, f"select pg_try_advisory_lock({_ASKING})", name=function_id):
        yield False
        return
    try:
        yield True
    finally:
        scalar(connection, f"select pg_advisory_unlock({_ASKING})", name=function_id)


_LEFT_TO_THE_SENSOR = """
select id from event_batches
where function_id = :name and state = 'open'
  and (not :is_asking or assigned_at < clock_timestamp() - make_interval(secs => :patience))
order by id
"""


def left_to_the_sensor(connection: Connection, *, function_id: str) -> list[int]:
    """Return the batches that no run has taken, but for those whose runs a dispatcher is about to ask for.

    Until the end of the transaction no dispatcher begins to.
    """
    is_asking = not scalar(connection, f"select pg_try_advisory_xact_lock_shared({_ASKING})", name=function_id)
    found = rows(connection, _LEFT_TO_THE_SENSOR, name=function_id, is_asking=is_asking, patience=PATIENCE)
    return [row["id"] for row in found]
