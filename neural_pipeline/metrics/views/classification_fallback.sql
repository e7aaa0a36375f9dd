-- How often a model was asked what an observation is about and rules had to answer, by day (UTC).
select day, captured, asked, fell_back, round(100.0 * fell_back / nullif(asked, 0), 2) as fallback_rate
from (
  select day, sum(metrics)::bigint as captured,
    coalesce(sum(metrics) filter (where dimensions ? 'classificationFallback'), 0)::bigint as asked,
    coalesce(sum(metrics) filter (where dimensions ->> 'classificationFallback' = 'true'), 0)::bigint as fell_back
  from metric_totals where type = 'observation_captured' group by 1
) counted
