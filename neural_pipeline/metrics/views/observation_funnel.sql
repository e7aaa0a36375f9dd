-- What the events of captures that ended became, by day (UTC) of the end and source; each is counted in one column.
select day, source, duplicate + not_allowed + below_threshold + captured + failed + cancelled as received,
  duplicate, not_allowed, below_threshold, captured, failed, cancelled
from (
  select day, coalesce(dimensions ->> 'source', dimensions ->> 'sourceType', 'unknown') as source,
    coalesce(sum(metrics) filter (where type = 'observation_duplicate'), 0)::bigint as duplicate,
    coalesce(sum(metrics) filter (where type = 'observation_filtered'), 0)::bigint as not_allowed,
    coalesce(sum(metrics) filter (where type = 'observation_below_threshold'), 0)::bigint as below_threshold,
    coalesce(sum(metrics) filter (where type = 'observation_captured'), 0)::bigint as captured,
    coalesce(sum(metrics) filter (where dimensions ->> 'outcome' = 'failed'), 0)::bigint as failed,
    coalesce(sum(metrics) filter (where dimensions ->> 'outcome' = 'cancelled'), 0)::bigint as cancelled
  from metric_totals
  where type in ('observation_duplicate', 'observation_filtered', 'observation_below_threshold', 'observation_captured')
    or type = 'job_duration' and dimensions ->> 'jobType' = 'neural.observation.capture'
      and dimensions ->> 'outcome' in ('failed', 'cancelled')
  group by 1, 2
) counted
