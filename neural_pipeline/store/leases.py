"""Leases and deadlines: how long a run may keep its batch, and which batches nobody shows signs of life for.

What becomes of a batch that is given up is `settlement`.
"""

from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection

from neural_pipeline.store.batches import Token
from neural_pipeline.store.sql import rows, scalar


class Standing(Enum):
    """How a run stands with its batch: it holds it, it has had its time, or the batch is somebody else's."""

    HELD = "held"
    OVERDUE = "overdue"
    LOST = "lost"


_RENEW = """
update event_batches set lease_until = clock_timestamp() + make_interval(secs => :seconds)
where id = :batch_id and run_id = :run_id and epoch = :epoch and state = 'running'
returning deadline_at <= clock_timestamp() as is_overdue
"""


def renew(connection: Connection, token: Token, *, seconds: float) -> Standing:
    """Show a sign of life: the batch stays the run's for so many seconds more, but never beyond its deadline."""
    is_overdue = scalar(
        connection, _RENEW, batch_id=token.batch_id, run_id=token.run_id, epoch=token.epoch, seconds=seconds
    )
    if is_overdue is None:
        return Standing.LOST
    return Standing.OVERDUE if is_overdue else Standing.HELD


@dataclass(frozen=True, slots=True)
class UnfinishedBatch:
    """A batch that is not closed: the run that has taken it, if any, for how many seconds, and what has run out."""

    id: int
    run_id: str | None
    running_seconds: float
    is_overdue: bool
    is_abandoned: bool


def unfinished_batches(connection: Connection) -> list[UnfinishedBatch]:
    """Return all batches that are not closed, oldest first."""
    sql = """
    select id, run_id, coalesce(extract(epoch from clock_timestamp() - taken_at), 0)::float as running_seconds,
      coalesce(deadline_at <= clock_timestamp(), false) as is_overdue,
      coalesce(lease_until <= clock_timestamp(), false) as is_abandoned
    from event_batches where state <> 'closed' order by id
    """
    return [UnfinishedBatch(**row) for row in rows(connection, sql)]
