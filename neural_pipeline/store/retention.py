"""Removing what is old, in general: how old is old, what is over, and pages with their counts.

One page per call, so that no transaction is long. Rows that somebody holds are passed over until the next time: removal
waits for nobody. A record goes only where its lifecycle row says what its facts say: the rest is evidence, and stays.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection

from neural_pipeline.store.sql import record_set, rows, run, scalar

PAGE = 1_000
"""Rows looked at in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoffs:
    """The moments before which something must have ended to be old; failures and refusals have their own."""

    payload: datetime
    failed_payload: datetime
    record: datetime
    failed_record: datetime
    metric: datetime


class Kind(NamedTuple):
    """What was removed, and in which state it was."""

    name: str
    state: str


Removed = Counter[Kind]


class Place(NamedTuple):
    """Where a page ended: pages go from old to young."""

    moment: datetime
    id: int


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Nothing here is older."""
BEGINNING = Place(EPOCH, 0)


@dataclass(frozen=True, slots=True)
class Page:
    """What one transaction removed, and where the next one goes on; None after the last."""

    removed: Removed
    next: Place | None


Step = Callable[[Connection, Place, Cutoffs], Page]

ENDED = """
  from incoming_events e
  join lightfast_workspace_workflow_runs r on r.event_id = e.id
    and r.status = case e.outcome when 'superseded' then 'completed' else e.outcome end
  where not exists (select from event_batches b where b.id = e.batch_id and b.state <> 'closed')
"""
"""An execution that is over in every record: facts, lifecycle row and batch."""

OLD_PAYLOAD = """
  from incoming_events e
  where e.outcome is not null and e.pruned_at is null
    and e.outcome_at < :payload and (e.outcome <> 'failed' or e.outcome_at < :failed_payload)
"""
OLD_RECORD = """
  from incoming_events e
  where e.outcome is not null
    and e.outcome_at < :record and (e.outcome <> 'failed' or e.outcome_at < :failed_record)
"""
OLD_REFUSAL = """
  from raw_payloads p
  where p.disposition <> 'accepted'
    and p.received_at < :payload and (p.disposition = 'duplicate' or p.received_at < :failed_payload)
"""
OLD_RAW = "from raw_payloads p where p.disposition = 'accepted' and p.received_at < :failed_payload"
OLD_BATCH = "from event_batches b where b.state = 'closed' and b.closed_at < :record"
OLD_METRIC = "from lightfast_workspace_operations_metrics m where m.timestamp < :metric"
OLD_CALL = "from model_calls c where c.called_at < :metric"
"""What is old. Each is paged by an index, before anything else is asked of it."""

UNNAMED = "not exists (select from incoming_events e where e.raw_payload_id = p.id)"
SPARE = """
  not exists (select from incoming_events e where e.raw_payload_id = p.id and e.pruned_at is null)
    and (exists (select from incoming_events e where e.raw_payload_id = p.id)
      or not exists (select from lightfast_org_workspaces w where w.id = p.workspace_id))
"""
"""A payload that no execution can use any more, because all were pruned or went with their workspace."""


def now(connection: Connection) -> datetime:
    """Return the time as the database has it: the clock that every age is measured by."""
    return scalar(connection, "select clock_timestamp()")


def old_ones(
    connection: Connection, old: str, moment: str, *, after: Place, cutoffs: Cutoffs
) -> tuple[list[int], Place | None]:
    """Return a page of ids that are old, and where the next page begins, None after the last.

    `moment` is the column that they are old by; the id stands beside it.
    """
    id_ = f"{moment.partition('.')[0]}.id"
    sql = f"""
    select {id_}, {moment} as moment {old} and ({moment}, {id_}) > (:after, :after_id)
    order by {moment}, {id_} limit :size
    """
    found = rows(connection, sql, after=after.moment, after_id=after.id, size=PAGE, **asdict(cutoffs))
    end = Place(found[-1]["moment"], found[-1]["id"]) if len(found) == PAGE else None
    return [row["id"] for row in found], end


_COUNT = """
insert into pruned_counters (record, day, removed)
select r.record, (clock_timestamp() at time zone 'UTC')::date, r.removed
from jsonb_to_recordset(cast(:counts as jsonb)) as r(record text, removed bigint) where r.removed > 0
on conflict (record, day) do update set removed = pruned_counters.removed + excluded.removed
"""


def count(connection: Connection, counts: Mapping[str, int]) -> None:
    """Add to what was removed, in the transaction that removes it: accounting holds what is left against it."""
    run(connection, _COUNT, counts=record_set({"record": name, "removed": number} for name, number in counts.items()))
