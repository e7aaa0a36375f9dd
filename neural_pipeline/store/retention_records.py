"""Removing records: of executions with what hangs on them, of batches, metrics, and calls of models."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from neural_pipeline.store import rollups
from neural_pipeline.store.retention import (
    ENDED,
    OLD_BATCH,
    OLD_CALL,
    OLD_METRIC,
    OLD_RECORD,
    Cutoffs,
    Kind,
    Page,
    Place,
    Removed,
    count,
    old_ones,
)
from neural_pipeline.store.sql import rows, run

_DUE = f"""
select e.id, e.outcome {ENDED} and e.id = any(:ids) and e.pruned_at is not null and e.raw_payload_id is null
order by e.id for update of e, r skip locked
"""


def remove_records(connection: Connection, after: Place, cutoffs: Cutoffs) -> Page:
    """Remove the records of old executions whose payload is gone, in an order in which no record lacks another.

    What they observed stays for ever, and stands without an execution; younger children stay, without a parent.
    """
    page, end = old_ones(connection, OLD_RECORD, "e.outcome_at", after=after, cutoffs=cutoffs)
    ids = _with_what_goes_first(connection, page, cutoffs)
    due = {row["id"]: row["outcome"] for row in rows(connection, _DUE, ids=ids)}
    going = sorted(due.keys() - _staying(connection, list(due)))
    _remove(connection, going)
    return Page(Removed(Kind("execution", due[id_]) for id_ in going), end)


_TIES = """
select e.id, p.id as goes_first from incoming_events e join incoming_events p on p.id = e.parent_event_id
where e.id = any(:ids)
union all
select replaced_by_event_id, event_id from replaced_observations where replaced_by_event_id = any(:ids)
union all
select superseded_by, id from incoming_events where superseded_by = any(:ids)
"""
"""What goes after what: a child after its parent, which was asked for it; a replacement after what it replaced; and the
one that stood for others after them."""

_GOING_FIRST = f"""
with recursive found (id) as (
  select unnest(cast(:ids as bigint[]))
  union
  select t.goes_first from found f
  cross join lateral (
    select p.parent_event_id as goes_first from incoming_events p where p.id = f.id
    union all
    select r.event_id from replaced_observations r where r.replaced_by_event_id = f.id
    union all
    select s.id from incoming_events s where s.superseded_by = f.id
  ) t
  where exists (select {OLD_RECORD} and e.id = t.goes_first)
)
select id from found
"""  # noqa: S608 - made of a constant


def _with_what_goes_first(connection: Connection, ids: Sequence[int], cutoffs: Cutoffs) -> list[int]:
    """Return the executions and the old ones that must go before them, which a later page may hold.

    What a capture superseded ended a moment before it: without its parent it would stay another night, and so would
    the one that stands for it.
    """
    ages = {"record": cutoffs.record, "failed_record": cutoffs.failed_record}
    return [row["id"] for row in rows(connection, _GOING_FIRST, ids=list(ids), **ages)]


_HELD = """
with children as materialized (
  select id from incoming_events where parent_event_id = any(:ids) and not (id = any(:ids))
  order by id for no key update skip locked
), observations as materialized (
  select id from lightfast_workspace_neural_observations where event_id = any(:ids)
  order by id for no key update skip locked
)
select parent_event_id as id from incoming_events
where parent_event_id = any(:ids) and not (id = any(:ids)) and id not in (select id from children)
union all
select event_id from lightfast_workspace_neural_observations
where event_id = any(:ids) and id not in (select id from observations)
"""
"""Executions with a child or an observation that somebody is working on; the others' are locked."""


def _staying(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return what has to stay for now, of the given executions and of those that must go first."""
    if not ids:
        return set()
    ties = [(row["id"], row["goes_first"]) for row in rows(connection, _TIES, ids=ids)]
    held = {row["id"] for row in rows(connection, _HELD, ids=ids)}
    return with_followers(held | {first for _, first in ties}.difference(ids), ties)


def with_followers(staying: Collection[int], ties: Collection[tuple[int, int]]) -> set[int]:
    """Return what stays when the given executions do; a tie is an execution and one that must go before it."""
    found = set(staying)
    while more := {event for event, goes_first in ties if goes_first in found} - found:
        found |= more
    return found


_CUT_LOOSE = (
    "update lightfast_workspace_neural_observations set event_id = null where event_id = any(:ids)",
    "update incoming_events set parent_event_id = null where parent_event_id = any(:ids) and not (id = any(:ids))",
)
_TABLES = {
    "workflow_run_attempts": "delete from workflow_run_attempts where event_id = any(:ids)",
    "replaced_observations": "delete from replaced_observations where event_id = any(:ids)",
    "lightfast_workspace_workflow_runs": "delete from lightfast_workspace_workflow_runs where event_id = any(:ids)",
    "incoming_events": "delete from incoming_events where id = any(:ids)",
}


def _remove(connection: Connection, ids: Sequence[int]) -> None:
    if not ids:
        return
    for sql in _CUT_LOOSE:
        run(connection, sql, ids=ids)
    count(connection, {table: run(connection, sql, ids=ids) for table, sql in _TABLES.items()})


_LEFT_BATCHES = """
select b.id from event_batches b
where b.id = any(:ids) and not exists (select from incoming_events e where e.batch_id = b.id)
order by b.id for update skip locked
"""
_BATCH_TABLES = {
    "batch_workspaces": "delete from batch_workspaces where batch_id = any(:ids)",
    "event_batches": "delete from event_batches where id = any(:ids)",
}


def remove_batches(connection: Connection, after: Place, cutoffs: Cutoffs) -> Page:
    """Remove closed batches of which no execution is left."""
    ids, end = old_ones(connection, OLD_BATCH, "b.closed_at", after=after, cutoffs=cutoffs)
    left = [row["id"] for row in rows(connection, _LEFT_BATCHES, ids=ids)]
    count(connection, {table: run(connection, sql, ids=left) for table, sql in _BATCH_TABLES.items()})
    return Page(Removed({Kind("batch", "closed"): len(left)}), end)


_METRICS = """
delete from lightfast_workspace_operations_metrics where id in (
  select id from lightfast_workspace_operations_metrics where id = any(:ids) order by id for update skip locked)
returning type
"""


def remove_metrics(connection: Connection, after: Place, cutoffs: Cutoffs) -> Page:
    """Remove old metrics, and with the last of them the sums of their days."""
    # Before any metric is locked: who deletes a workspace takes the two in this order too.
    rollups.hold_still(connection)
    ids, end = old_ones(connection, OLD_METRIC, "m.timestamp", after=after, cutoffs=cutoffs)
    gone = rows(connection, _METRICS, ids=ids)
    if end is None:
        rollups.forget_before(connection, cutoffs.metric)
    count(connection, {"lightfast_workspace_operations_metrics": len(gone)})
    return Page(Removed(Kind("metric", row["type"]) for row in gone), end)


_CALLS = """
delete from model_calls where id in (
  select id from model_calls where id = any(:ids) order by id for update skip locked)
returning coalesce(outcome, 'unfinished') as outcome, day
"""
_EMPTY_DAYS = """
delete from model_days d where d.day = any(:days) and not exists (select from model_calls c where c.day = d.day)
"""


def remove_calls(connection: Connection, after: Place, cutoffs: Cutoffs) -> Page:
    """Remove old calls of models, and the sum of a day with the last call of it."""
    ids, end = old_ones(connection, OLD_CALL, "c.called_at", after=after, cutoffs=cutoffs)
    gone = rows(connection, _CALLS, ids=ids)
    days = run(connection, _EMPTY_DAYS, days=sorted({row["day"] for row in gone}))
    count(connection, {"model_calls": len(gone), "model_days": days})
    return Page(Removed(Kind("model call", row["outcome"]) for row in gone), end)
