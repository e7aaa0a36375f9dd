-- How often the actor of an event was found to be a person, by source, over all metrics there are.
select source, resolved::float8 / events * 100 as success_rate, events, resolved
from (
  select dimensions ->> 'source' as source, sum(metrics)::bigint as events,
    coalesce(sum(metrics) filter (where dimensions ->> 'resolved' = 'true'), 0)::bigint as resolved
  from metric_totals where type = 'actor_resolution' group by 1
) counted
