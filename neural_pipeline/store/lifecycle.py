"""The recorder: the only code that moves lifecycle rows. It projects facts onto them, any time, and twice if asked."""

from collections.abc import Sequence

from sqlalchemy import Connection

from neural_pipeline.store.sql import run, scalar


def _milliseconds(begin: str, end: str) -> str:
    """Return the SQL for the whole milliseconds between two moments, none of them negative, as far as integers go."""
    return f"least(greatest(floor(extract(epoch from {end} - {begin}) * 1000), 0), 2147483647)::integer"


_TIMES = {
    "milliseconds_from_start_to_end": _milliseconds("coalesce(f.started_at, f.completed_at)", "f.completed_at"),
    "milliseconds_from_due_to_start": _milliseconds("due_at", "started_at"),
    "milliseconds_from_acceptance_to_end": _milliseconds("created_at", "completed_at"),
}

_PROJECT = """
with facts as (
  select r.id, e.begun_at, e.outcome, e.outcome_at, e.output, e.error_message, e.cause, e.work_ms, e.attempt,
    e.due_at, s.id as superseded_by, e.batch_id, b.run_id,
    case e.outcome when 'superseded' then 'completed' else coalesce(e.outcome, 'running') end as status,
    case when e.begun_at is not null then greatest(e.begun_at, r.created_at) end as started_at,
    greatest(e.outcome_at, e.begun_at, r.created_at) as completed_at
  from incoming_events e
  join lightfast_workspace_workflow_runs r on r.event_id = e.id
  left join event_batches b on b.id = e.batch_id
  left join lightfast_workspace_workflow_runs s on s.event_id = e.superseded_by
  -- "is true" keeps the planner off the status: what waits are few in its statistics, and may be very many by now.
  where {scope} and (r.status in ('queued', 'running')) is true and (e.outcome is not null or e.begun_at is not null)
  order by r.id for update of r
), moved as (
  update lightfast_workspace_workflow_runs r
  set status = f.status, started_at = f.started_at, batch_id = f.batch_id, dagster_run_id = f.run_id,
    attempt = f.attempt, output = f.output, error_message = f.error_message, cause = f.cause, work_ms = f.work_ms,
    superseded_by = f.superseded_by,
    completed_at = case when f.outcome is not null then f.completed_at end,
    duration_ms = case when f.outcome is not null then
      {milliseconds_from_start_to_end}::text end,
    updated_at = clock_timestamp()
  from facts f
  where r.id = f.id and (r.status <> f.status or r.dagster_run_id is distinct from f.run_id)
  returning r.*, f.outcome, f.due_at
), ended as (
  select *,
    -- what a capture's input has as its source type is the kind of event
    case inngest_function_id when 'neural.observation.capture' then input ->> 'source' else input ->> 'sourceType' end
      as provider,
    case when started_at is not null then {milliseconds_from_due_to_start} end as queue_wait_ms,
    {milliseconds_from_acceptance_to_end} as total_ms
  from moved where outcome is not null
), measured as (
  insert into lightfast_workspace_operations_metrics
    (clerk_org_id, workspace_id, repository_id, type, value, unit, tags, timestamp, event_id)
  select clerk_org_id, workspace_id, repository_id, 'job_duration', duration_ms::integer, 'ms',
    jsonb_strip_nulls(jsonb_build_object('jobType', inngest_function_id, 'trigger', trigger, 'outcome', status,
      'result', case outcome when 'superseded' then outcome else output ->> 'status' end,
      'begun', started_at is not null, 'sourceType', provider, 'syncMode', input ->> 'syncMode',
      'queueWaitMs', queue_wait_ms, 'totalMs', total_ms)), completed_at, event_id
  from ended
  union all
  select clerk_org_id, workspace_id, repository_id, 'errors', 1, 'count',
    jsonb_strip_nulls(jsonb_build_object('jobType', inngest_function_id, 'errorType', 'job_failure',
      'trigger', trigger, 'cause', cause, 'sourceType', provider)), completed_at, event_id
  from ended where status = 'failed'
  union all
  select clerk_org_id, workspace_id, repository_id, 'documents_indexed',
    least(coalesce((output ->> 'itemsProcessed')::numeric, 0), 2147483647)::integer, 'count',
    jsonb_build_object('jobType', inngest_function_id, 'sourceType', output -> 'sourceType',
      'syncMode', output -> 'syncMode', 'filesProcessed', output -> 'itemsProcessed'), completed_at, event_id
  from ended where inngest_function_id = 'sync.orchestrator' and output ->> 'status' = 'success'
)
select count(*) from moved
"""


def record_batch(connection: Connection, batch_id: int) -> int:
    """Project the facts of a batch's events onto their lifecycle rows; return how many rows moved."""
    # Waits for whoever settles the batch: facts read before that would bring rows back to running.
    run(connection, "select from event_batches where id = :batch_id for share", batch_id=batch_id)
    return int(scalar(connection, _PROJECT.format(scope="e.batch_id = :batch_id", **_TIMES), batch_id=batch_id))


def record_events(connection: Connection, event_ids: Sequence[int]) -> int:
    """Project the facts of single events onto their lifecycle rows; return how many rows moved."""
    return int(scalar(connection, _PROJECT.format(scope="e.id = any(:ids)", **_TIMES), ids=list(event_ids)))


def return_to_queue(connection: Connection, event_ids: Sequence[int]) -> int:
    """Move the rows of events that wait again back to queued, showing the attempts they have had."""
    sql = """
    update lightfast_workspace_workflow_runs r
    set status = 'queued', started_at = null, batch_id = null, dagster_run_id = null, attempt = e.attempt,
      updated_at = clock_timestamp()
    from incoming_events e
    where e.id = any(:ids) and r.event_id = e.id and (e.batch_id is null and e.outcome is null) is true
      and (r.status = 'running' or r.status = 'queued' and r.attempt <> e.attempt) is true
    """
    return run(connection, sql, ids=list(event_ids))
