-- Percentiles of durations by nearest rank: as they were added up, or from the histograms of days with metrics behind.
with behind as (
  select distinct day from metrics_behind where type = 'job_duration'
)
select day, job_type as function_id, outcome, measure, runs, neural_bucket_ms(p50) as p50_ms,
  neural_bucket_ms(p95) as p95_ms, neural_bucket_ms(p99) as p99_ms, neural_bucket_ms(longest) as max_ms
from (
  select day, job_type, outcome, measure, runs, p50, p95, p99, longest
  from percentile_days where not day = any(array(select day from behind))
  union all
  select h.day, h.job_type, h.outcome, h.measure, p.*
  from (
    select day, job_type, outcome, measure, array_agg(bucket) as buckets, array_agg(runs) as counts
    from duration_histogram where day = any(array(select day from behind)) group by 1, 2, 3, 4
  ) h cross join lateral neural_percentiles(h.buckets, h.counts) p
) days
where outcome in ('completed', 'failed')
