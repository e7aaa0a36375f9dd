"""Replaying executions: a new inbox row with its lifecycle row, linked by `replay_of` to the run that has ended.

What is replayed is the event's stored data; what was rejected goes through its transformer again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping

from neural_pipeline.contracts.events import SourceEvent
from neural_pipeline.contracts.functions import FunctionId
from neural_pipeline.contracts.incoming import CapturePayload, input_of, run_name
from neural_pipeline.contracts.lifecycle import Cause, RunStatus
from neural_pipeline.sources.intake import Judgement
from neural_pipeline.store.intake import repository_of
from neural_pipeline.store.payloads import StoredPayload, stored_payload
from neural_pipeline.store.runs import Cursor, RunFilter, conditions_of
from neural_pipeline.store.sql import record_set, rows, run, scalar, storable

PAGE = 1_000
"""Runs that a bulk replay takes in one transaction."""

MAX_REQUEST_ID = 150
"""Characters of a request id: with the number of the old run it is the delivery id of the new event."""

Judge = Callable[[StoredPayload], Judgement]
"""Puts a payload, as it was received, through its transformer again."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A request: asked for twice under one id, it replays a run once. `reprocess` has observations replaced."""

    request_id: str
    by: str
    reprocess: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of one old run: refused with a reason, or replayed as a new run, now or under this id before."""

    run_id: int
    title: str
    refusal: str | None = None
    asked_before: bool = False
    new_run_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Prospect:
    """An old run with the answer so far, and the event that its transformer makes of its payload now, if it has to."""

    answer: Answer
    healed: SourceEvent | None = None


def newest_run(connection: Connection) -> int:
    """Return the greatest run id: what comes later is no part of a bulk replay that begins now."""
    return int(scalar(connection, "select coalesce(max(id), 0) from lightfast_workspace_workflow_runs"))


_CHOICE = """
select r.id, r.created_at from lightfast_workspace_workflow_runs r
where {conditions} and r.id <= :until and r.replay_request_id is distinct from :request_id
  and not exists (select from lightfast_workspace_workflow_runs later
    where later.replay_of = r.id and later.replay_request_id is distinct from :request_id)
order by r.created_at, r.id
limit :limit
"""


def runs_to_replay(
    connection: Connection, wanted: RunFilter, *, request_id: str, until: int, limit: int, after: Cursor | None = None
) -> list[Cursor]:
    """Return at most `limit` wanted runs up to the id `until`, oldest first.

    None that the request itself has made, and none that another one has replayed: its replay stands for it.
    """
    conditions, parameters = conditions_of(wanted)
    if after is not None:
        conditions.append("(r.created_at, r.id) > (:after_created_at, :after_id)")
        parameters |= {"after_created_at": after.created_at, "after_id": after.id}
    sql = _CHOICE.format(conditions=" and ".join(conditions))
    found = rows(connection, sql, **parameters, request_id=request_id, until=until, limit=limit)
    return [Cursor(row["created_at"], row["id"]) for row in found]


def preview(connection: Connection, run_ids: Sequence[int], wish: Replay, *, judge: Judge) -> list[Answer]:
    """Answer for runs without writing anything, in their order; a run that does not exist has no answer."""
    return [prospect.answer for prospect in _prospects(connection, run_ids, wish, judge=judge)]


def replay(connection: Connection, run_ids: Sequence[int], wish: Replay, *, judge: Judge) -> list[Answer]:
    """Replay runs that can be; one answer each, in their order; a run that does not exist has no answer."""
    _keep_payloads(connection, run_ids)
    prospects = list(_prospects(connection, run_ids, wish, judge=judge))
    made = _append(connection, [one for one in prospects if _is_open(one.answer)], wish)
    return [_answered(one.answer, made) if _is_open(one.answer) else one.answer for one in prospects]


def _is_open(answer: Answer) -> bool:
    return answer.refusal is None and not answer.asked_before


def _answered(answer: Answer, made: dict[int, int]) -> Answer:
    """What was not appended somebody else has appended meanwhile, under the same request id."""
    new_run_id = made.get(answer.run_id)
    return Answer(answer.run_id, answer.title, asked_before=new_run_id is None, new_run_id=new_run_id)


def _keep_payloads(connection: Connection, run_ids: Sequence[int]) -> None:
    """Hold retention off until the end of the transaction."""
    sql = """
    select from incoming_events e
    where e.outcome is not null
      and e.id in (select event_id from lightfast_workspace_workflow_runs where id = any(:ids))
    order by e.id for share
    """
    run(connection, sql, ids=list(run_ids))


_PROSPECTS = """
select r.id, r.status, r.inngest_function_id, r.cause, coalesce(r.input ->> 'title', r.name) as title,
  e.id as event_id, e.payload is not null as has_payload, e.pruned_at, p.id as raw_payload_id, a.id as new_run_id
from unnest(cast(:ids as bigint[])) with ordinality k(id, place)
join lightfast_workspace_workflow_runs r on r.id = k.id
left join incoming_events e on e.id = r.event_id
left join raw_payloads p on p.id = e.raw_payload_id
left join lightfast_workspace_workflow_runs a on a.replay_of = r.id and a.replay_request_id = :request_id
order by k.place
"""


def _prospects(connection: Connection, run_ids: Sequence[int], wish: Replay, *, judge: Judge) -> Iterator[_Prospect]:
    for row in rows(connection, _PROSPECTS, ids=list(run_ids), request_id=wish.request_id):
        if row["new_run_id"] is not None:
            answer = Answer(row["id"], row["title"], asked_before=True, new_run_id=row["new_run_id"])
            yield _Prospect(answer)
        elif (refusal := _refusal(row)) is not None:
            yield _Prospect(Answer(row["id"], row["title"], refusal))
        elif _was_rejected(row):
            yield _judged_again(connection, row, judge)
        else:
            yield _Prospect(Answer(row["id"], row["title"]))


def _refusal(row: RowMapping) -> str | None:
    if row["status"] in {RunStatus.QUEUED, RunStatus.RUNNING}:
        return f"it is {row['status']}: wait for its end, or `neural runs cancel {row['id']}` first"
    if row["event_id"] is None:
        return "its stored event is gone: hand the payload in again"
    if not row["has_payload"] and not _was_rejected(row):
        pruned = f" on {row['pruned_at']:%Y-%m-%d}" if row["pruned_at"] else ""
        return f"its stored payload was pruned{pruned}: hand the payload in again"
    return None


def _was_rejected(row: RowMapping) -> bool:
    """Tell whether a capture found its event unusable, and the payload that the event was made of is still there."""
    is_rejected_capture = (
        row["inngest_function_id"] == FunctionId.OBSERVATION_CAPTURE and row["cause"] == Cause.REJECTED
    )
    return is_rejected_capture and row["raw_payload_id"] is not None


def _judged_again(connection: Connection, row: RowMapping, judge: Judge) -> _Prospect:
    # One body at a time: each may have megabytes.
    payload = stored_payload(connection, row["raw_payload_id"])
    judgement = judge(payload) if payload is not None else Judgement("invalid", reason="it is gone")
    if judgement.event is not None:
        return _Prospect(Answer(row["id"], row["title"]), judgement.event)
    refusal = f"its payload is still refused as {judgement.disposition}: {judgement.reason}"
    return _Prospect(Answer(row["id"], row["title"], refusal))


_APPEND = """
with asked as (
  select * from jsonb_to_recordset(cast(:asked as jsonb)) as a(run_id bigint, payload jsonb, name text,
    repository_id text, input jsonb)
), taken as (
  select r.id as replay_of, r.clerk_org_id, e.workspace_id, e.function_id, :request_id || ':' || r.id as delivery_id,
    p.id as raw_payload_id, coalesce(a.payload, e.payload) as payload, coalesce(a.name, r.name) as name,
    coalesce(a.input, r.input) as input,
    case when a.payload is null then r.repository_id else a.repository_id end as repository_id
  from asked a
  join lightfast_workspace_workflow_runs r on r.id = a.run_id
  join incoming_events e on e.id = r.event_id
  left join raw_payloads p on p.id = e.raw_payload_id
  order by r.id
), new as (
  select nextval(pg_get_serial_sequence('incoming_events', 'id')) as id, taken.* from taken
), present as (
  select clock_timestamp() as moment
), appended as (
  insert into incoming_events (id, workspace_id, function_id, source, delivery_id, raw_payload_id, payload,
    payload_bytes, received_at, reprocess)
  overriding system value
  select id, workspace_id, function_id, 'replay', delivery_id, raw_payload_id, payload, pg_column_size(payload), moment,
    :reprocess and function_id = 'neural.observation.capture'
  from new cross join present order by id
  on conflict (source, delivery_id, workspace_id, function_id) do nothing
  returning id, received_at
), queued as (
  insert into lightfast_workspace_workflow_runs (clerk_org_id, workspace_id, repository_id, inngest_run_id,
    inngest_function_id, name, trigger, triggered_by, input, created_at, event_id, replay_of, replay_request_id)
  select n.clerk_org_id, n.workspace_id, n.repository_id, gen_random_uuid()::text, n.function_id, n.name, 'manual',
    :by, n.input, a.received_at, a.id, n.replay_of, :request_id
  from appended a join new n on n.id = a.id order by n.id
  returning id, replay_of
)
select replay_of, id from queued
"""


def _append(connection: Connection, prospects: Sequence[_Prospect], wish: Replay) -> dict[int, int]:
    """Append new executions without a parent: whoever asked for the old one has asked once. New run ids by old."""
    if not prospects:
        return {}
    asked = record_set({"run_id": one.answer.run_id, **_renewed(one.healed)} for one in prospects)
    by = storable(wish.by, limit=191)
    made = rows(connection, _APPEND, asked=asked, request_id=wish.request_id, by=by, reprocess=wish.reprocess)
    return {row["replay_of"]: row["id"] for row in made}


def _renewed(event: SourceEvent | None) -> dict[str, Any]:
    if event is None:
        return {}
    payload = CapturePayload(source_event=event)
    return {
        "payload": payload.to_json(),
        "name": run_name(payload),
        "input": input_of(payload).to_json(),
        "repository_id": repository_of(event),
    }
