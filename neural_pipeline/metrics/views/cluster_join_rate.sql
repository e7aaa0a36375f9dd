-- How often an observation joined a cluster, by day (UTC): of all that were compared, and of those that could.
select day, assigned, assigned - joined - began as stayed, joined, began, joined + rejected as with_candidates,
  neural_success_rate(joined, began) as join_rate,
  neural_success_rate(joined, rejected) as join_rate_with_candidates
from (
  select day,
    coalesce(sum(metrics) filter (where type = 'cluster_assigned'), 0)::bigint as assigned,
    coalesce(sum(metrics) filter (where dimensions ->> 'joined' = 'true'), 0)::bigint as joined,
    coalesce(sum(metrics) filter (where dimensions ->> 'joined' = 'false'), 0)::bigint as began,
    coalesce(sum(metrics) filter (where dimensions ->> 'joined' = 'false' and dimensions ? 'rejectedBand'), 0)::bigint
      as rejected
  from metric_totals where type in ('cluster_assigned', 'cluster_affinity') group by 1
) counted
