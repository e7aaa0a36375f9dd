-- How the actors of events were told, by day (UTC), source and method, and which of them are persons for certain.
select day, source, method, events, resolved,
  round(100 * events / sum(events) over (partition by day, source), 2) as share
from (
  select day, dimensions ->> 'source' as source, coalesce(dimensions ->> 'method', 'none') as method,
    sum(metrics)::bigint as events,
    coalesce(sum(metrics) filter (where dimensions ->> 'resolved' = 'true'), 0)::bigint as resolved
  from metric_totals where type = 'actor_resolution' group by 1, 2, 3
) counted
