-- Executions that ended, by function and day (UTC) of their end.
select day, function_id, completed + failed + cancelled as ended, completed, failed, cancelled,
  neural_success_rate(completed, failed) as success_rate,
  100 - neural_success_rate(completed, failed) as failure_rate,
  round(run_ms::numeric / nullif(begun, 0), 1) as mean_run_ms
from (
  select day, coalesce(dimensions ->> 'jobType', 'unknown') as function_id,
    coalesce(sum(metrics) filter (where dimensions ->> 'outcome' = 'completed'), 0)::bigint as completed,
    coalesce(sum(metrics) filter (where dimensions ->> 'outcome' = 'failed'), 0)::bigint as failed,
    coalesce(sum(metrics) filter (where dimensions ->> 'outcome' = 'cancelled'), 0)::bigint as cancelled,
    sum(total) filter (where dimensions ->> 'outcome' = 'completed') as run_ms,
    sum(metrics) filter (where dimensions ->> 'outcome' = 'completed'
      and dimensions ->> 'result' is distinct from 'superseded') as begun
  from metric_totals where type = 'job_duration' group by 1, 2
) counted
