"""The inbox and the lifecycle rows that are born with it. Only appending lives here; states move in `lifecycle`.

Ids follow the order in which events are given, but rows go in by key, so that two calls cannot deadlock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping

from neural_pipeline.contracts.debounce import Debounce
from neural_pipeline.contracts.incoming import IncomingEvent, input_of, run_name
from neural_pipeline.contracts.lifecycle import Trigger
from neural_pipeline.store import debounce, lifecycle
from neural_pipeline.store.sql import record_set, rows


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An execution to be done. (source, delivery_id, workspace_id, its function) is accepted once.

    Debounced, it supersedes what waits for its key and waits itself for a newer one.
    """

    workspace_id: str
    source: str
    delivery_id: str
    payload: IncomingEvent
    trigger: Trigger
    triggered_by: str | None = None
    repository_id: str | None = None
    raw_payload_id: int | None = None
    parent_event_id: int | None = None
    debounce: Debounce | None = None


_APPEND = f"""
with given as (
  select * from jsonb_to_recordset(cast(:events as jsonb)) as r(place integer,
    workspace_id text, function_id text, source text, delivery_id text, raw_payload_id bigint, parent_event_id bigint,
    payload jsonb, name text, trigger text, triggered_by text,
    repository_id text, input jsonb, chosen_id bigint, debounce_key text, due_at timestamptz, due_by timestamptz,
    superseded_by bigint, losses integer)
  order by place
), new as (
  select coalesce(chosen_id, nextval(pg_get_serial_sequence('incoming_events', 'id'))) as id, given.* from given
), present as (
  select clock_timestamp() as moment
), appended as (
  insert into incoming_events (id, workspace_id, function_id, source, delivery_id, raw_payload_id, parent_event_id,
    payload, payload_bytes, received_at, debounce_key, due_at, due_by, superseded_by, losses, outcome,
    outcome_at, output)
  overriding system value
  select id, workspace_id, function_id, source, delivery_id, raw_payload_id, parent_event_id, payload,
    pg_column_size(payload), moment, debounce_key, coalesce(due_at, moment), due_by, superseded_by,
    coalesce(losses, 0), gone.outcome, gone.outcome_at, gone.output
  from new cross join present
  left join lateral (
    select 'superseded' as outcome, moment as outcome_at, {debounce.SUPERSEDED.format(row="new")} as output
  ) gone on superseded_by is not null
  order by source, delivery_id, workspace_id, function_id, id
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
"""  # noqa: S608 - made of constants


def append(connection: Connection, events: Sequence[NewEvent]) -> dict[int, int | None]:
    """Append executions, each with its lifecycle row in state queued; what is known already is left alone.

    Of several debounced events of one key the last stands for the others. Returns the ids of the appended events, each
    with the raw payload it came from.
    """
    if not events:
        return {}
    records = [_record(event) | {"place": place} for place, event in enumerate(events)]
    if all(event.debounce is None for event in events):
        return _append(connection, records)
    ways = debounce.make_way(connection, records)
    appended = _append(connection, [_settled(records, way) for way in ways])
    gone = {way["id"] for way in ways if way["superseded_by"]} | {way["superseded"] for way in ways}
    lifecycle.record_events(connection, sorted(gone - {None}))
    return appended


def _append(connection: Connection, records: Sequence[dict[str, Any]]) -> dict[int, int | None]:
    appended = rows(connection, _APPEND, events=record_set(records))
    return {row["id"]: row["raw_payload_id"] for row in appended}


def _settled(records: Sequence[dict[str, Any]], way: RowMapping) -> dict[str, Any]:
    """Return the record of an event with what is settled before it is appended: id, times, survivor, losses."""
    place: int = way["place"]
    chosen = {name: way[name] for name in ("due_at", "due_by", "superseded_by", "losses")}
    return {**records[place], **chosen, "chosen_id": way["id"]}


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
    } | _waiting(event.debounce)


def _waiting(wish: Debounce | None) -> dict[str, Any]:
    if wish is None:
        return {}
    return {"debounce_key": wish.key, "seconds": wish.seconds, "max_seconds": wish.max_seconds}
