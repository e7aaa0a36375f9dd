"""Cancelling one execution, waiting or at work: its outcome is written at once, and nothing may overwrite it.

A run at work finds the outcome when it wants to commit the event's effects, and leaves them.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from neural_pipeline.store import lifecycle
from neural_pipeline.store.sql import rows, scalar


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What became of the wish: the state of the row now, and the Dagster run that has nothing left to do, if any."""

    status: str
    is_new: bool
    idle_run_id: str | None = None


_CANCEL = """
update incoming_events
set outcome = 'cancelled', outcome_at = clock_timestamp(), cancel_requested_at = clock_timestamp(),
  cancel_requested_by = :by, error_message = left('cancelled by ' || :by, 1000)
where id = :event_id and outcome is null
returning batch_id
"""

_IDLE = """
select run_id from event_batches b
where id = :batch_id and state = 'running'
  and not exists (select from incoming_events e where e.batch_id = b.id and e.outcome is null)
"""


def cancel_event(connection: Connection, event_id: int, *, by: str) -> Cancellation | None:
    """Cancel an execution unless it has ended; None if there is no such execution."""
    cancelled = rows(connection, _CANCEL, event_id=event_id, by=by)
    if cancelled:
        lifecycle.record_events(connection, [event_id])
        return Cancellation("cancelled", is_new=True, idle_run_id=_idle_run(connection, cancelled[0]["batch_id"]))
    sql = """
    select case outcome when 'superseded' then 'completed' else outcome end from incoming_events where id = :event_id
    """
    outcome = scalar(connection, sql, event_id=event_id)
    return None if outcome is None else Cancellation(outcome, is_new=False)


def _idle_run(connection: Connection, batch_id: int | None) -> str | None:
    return None if batch_id is None else scalar(connection, _IDLE, batch_id=batch_id)
