-- Summaries of clusters, by day (UTC): those written, and how else the requests for one ended.
select day,
  coalesce(sum(metrics) filter (where type = 'cluster_summary_generated'), 0)::bigint as generated,
  coalesce(sum(metrics) filter (where dimensions ->> 'result' = 'skipped'), 0)::bigint as skipped,
  coalesce(sum(metrics) filter (where dimensions ->> 'result' = 'superseded'), 0)::bigint as superseded,
  coalesce(sum(metrics) filter (where dimensions ->> 'outcome' = 'failed'), 0)::bigint as failed,
  coalesce(sum(metrics) filter (where dimensions ->> 'outcome' = 'cancelled'), 0)::bigint as cancelled
from metric_totals
where type = 'cluster_summary_generated'
  or type = 'job_duration' and dimensions ->> 'jobType' = 'neural.cluster.summary'
group by 1
