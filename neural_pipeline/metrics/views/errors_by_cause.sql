-- Failed executions, by day (UTC) of their end, function and cause.
select day, coalesce(dimensions ->> 'jobType', 'unknown') as function_id,
  coalesce(dimensions ->> 'cause', 'unknown') as cause, sum(total)::bigint as errors
from metric_totals where type = 'errors' group by 1, 2, 3
