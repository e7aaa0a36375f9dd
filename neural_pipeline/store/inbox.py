"""The inbox and the lifecycle rows that are born with it. Only appending lives here; states move in `lifecycle`.

Ids follow the order in which events are given, but rows go in by key, so that two calls cannot deadlock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from neural_pipeline.contracts.incoming import IncomingEvent, input_of, run_name
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.store.sql import record_set, rows


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An execution to be done. (source, delivery_id, workspace_id, its function) is accepted once."""

    workspace_id: str
    source: str
    delivery_id: str
    payload: IncomingEvent
    trigger: Trigger
    triggered_by: str | None = None
    repository_id: str | None = None
    raw_payload_id: int | None = None
    parent_event_id: int | None = None


_APPEND = """
with given as (
  select * from jsonb_to_recordset(cast(:events as jsonb)) as r(place integer,
    workspace_id text, function_id text, source text, delivery_id text, raw_payload_id bigint, parent_event_id bigint,
    payload jsonb, name text, trigger text, triggered_by text,
    repository_id text, input jsonb)
  order by place
), new as (
  select nextval(pg_get_serial_sequence('incoming_events', 'id')) as id, given.* from given
), present as (
  select clock_timestamp() as moment
), appended as (
  insert into incoming_events (id, workspace_id, function_id, source, delivery_id, raw_payload_id, parent_event_id,
    payload, payload_bytes, received_at)
  overriding system value
  select id, workspace_id, function_id, source, delivery_id, raw_payload_id, parent_event_id, payload,
    pg_column_size(payload), moment
  from new cross join present order by source, delivery_id, workspace_id, function_id, id
  on conflict (source, delivery_id, workspace_id, function_id) do nothing
  returning id, workspace_id, function_id, received_at, raw_payload_id
), queued as (
  insert into lightfast_workspace_workflow_runs (clerk_org_id, workspace_id, repository_id, inngest_run_id,
    inngest_function_id, name, trigger, triggered_by, input, created_at, event_id)
  select w.clerk_org_id, a.workspace_id, n.repository_id, gen_random_uuid()::text, a.function_id, n.name, n.trigger,
    n.triggered_by, n.input, a.received_at, a.id
  from appended a
  join new n on n.id = a.id
  join lightfast_org_workspaces w on w.id = a.workspace_id
)
select id, raw_payload_id from appended
"""


def append(connection: Connection, events: Sequence[NewEvent]) -> dict[int, int | None]:
    """Append executions, each with its lifecycle row in state queued; what is known already is left alone.

    Returns the ids of the appended events, each with the raw payload it came from.
    """
    if not events:
        return {}
    records = (_record(event) | {"place": place} for place, event in enumerate(events))
    appended = rows(connection, _APPEND, events=record_set(records))
    return {row["id"]: row["raw_payload_id"] for row in appended}


def _record(event: NewEvent) -> dict[str, Any]:
    payload = event.payload.to_json()
    return {
        "workspace_id": event.workspace_id,
        "function_id": payload["inngestFunctionId"],
        "source": event.source,
        "delivery_id": event.delivery_id,
        "raw_payload_id": event.raw_payload_id,
        "parent_event_id": event.parent_event_id,
        "payload": payload,
        "name": run_name(event.payload),
        "trigger": event.trigger,
        "triggered_by": event.triggered_by,
        "repository_id": event.repository_id,
        "input": input_of(event.payload).to_json(),
    }
