-- Executions that ended in the present hour and the 743 before it; from the first hour that has any, all are there.
with counted as (
  select hour, job_type as function_id,
    coalesce(sum(runs) filter (where outcome = 'completed'), 0)::bigint as completed,
    coalesce(sum(runs) filter (where outcome = 'failed'), 0)::bigint as failed,
    coalesce(sum(runs) filter (where outcome = 'cancelled'), 0)::bigint as cancelled,
    sum(begun) filter (where outcome = 'completed') as begun,
    sum(run_ms) filter (where outcome = 'completed') as run_ms
  from run_hours
  -- In hours, as a day of the session's time zone may have 23 or 25.
  where hour > date_trunc('hour', now(), 'UTC') - interval '744 hours' and hour <= now()
  group by 1, 2
), hours as (
  select generate_series(min(hour), date_trunc('hour', now(), 'UTC'), interval '1 hour') as hour from counted
), functions as (
  select distinct function_id from counted
), summed as (
  -- Zeros are added, not joined: the planner knows nothing of a series and would compare every hour with every other.
  select hour, function_id, sum(completed)::bigint as completed, sum(failed)::bigint as failed,
    sum(cancelled)::bigint as cancelled, sum(begun) as begun, sum(run_ms) as run_ms
  from (
    select hour, function_id, completed, failed, cancelled, begun, run_ms from counted
    union all
    select hour, function_id, 0, 0, 0, null, null from hours cross join functions
  ) parts
  group by 1, 2
)
select hour, function_id, completed, failed, cancelled, round(run_ms / nullif(begun, 0), 1) as mean_run_ms,
  neural_success_rate(completed, failed) as success_rate
from summed
