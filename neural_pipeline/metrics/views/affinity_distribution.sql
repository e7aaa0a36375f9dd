-- How near observations were to the cluster they joined, or to the best one they did not, by day (UTC) and band of ten
-- points; one that had no cluster to be compared with has no band.
select day, band,
  coalesce(sum(metrics) filter (where joined), 0)::bigint as joined,
  coalesce(sum(metrics) filter (where not joined and band is not null), 0)::bigint as rejected,
  coalesce(sum(metrics) filter (where not joined and band is null), 0)::bigint as without_candidate
from (
  select day, metrics, dimensions ->> 'joined' = 'true' as joined,
    (case dimensions ->> 'joined' when 'true' then dimensions ->> 'band' else dimensions ->> 'rejectedBand' end)::integer
      as band
  from metric_totals where type = 'cluster_affinity'
) scored
group by 1, 2
