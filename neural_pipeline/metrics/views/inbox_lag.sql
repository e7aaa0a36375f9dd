-- What has not ended now: executions waiting for their turn, and those being worked on. Each function has its row.
select function_id, sum(due)::bigint as due,
  -- greatest passes over nulls: 0 where nothing waits or all is put off, and where the clock has jumped back.
  round(greatest(extract(epoch from statement_timestamp() - min(oldest_due_at)), 0), 1) as oldest_due_seconds,
  sum(later)::bigint as waiting_later, sum(in_progress)::bigint as in_progress,
  round(greatest(extract(epoch from statement_timestamp() - min(oldest_begun_at)), 0), 1) as oldest_in_progress_seconds
from (
  select function_id, count(*) filter (where due_at <= statement_timestamp()) as due,
    min(due_at) as oldest_due_at,
    count(*) filter (where due_at > statement_timestamp()) as later, 0 as in_progress,
    null::timestamptz as oldest_begun_at
  from incoming_events where batch_id is null and outcome is null group by function_id
  union all
  select b.function_id, e.*
  from event_batches b cross join lateral (
    select count(*) filter (where begun_at is null), min(due_at) filter (where begun_at is null), 0,
      count(begun_at), min(begun_at)
    from incoming_events where batch_id = b.id and outcome is null
  ) e
  where b.state <> 'closed'
  union all
  select function_id, 0, null, 0, 0, null
  from unnest(array['neural.observation.capture', 'neural.profile.update', 'neural.cluster.summary',
    'neural.llm-entity-extraction']) function_id
) parts
group by function_id
