-- Profiles of actors, by day (UTC): those written, and how else the requests for one ended.
select day,
  coalesce(sum(metrics) filter (where type = 'profile_updated'), 0)::bigint as updated,
  coalesce(sum(metrics) filter (where dimensions ->> 'result' = 'skipped'), 0)::bigint as skipped,
  coalesce(sum(metrics) filter (where dimensions ->> 'result' = 'superseded'), 0)::bigint as superseded,
  coalesce(sum(metrics) filter (where dimensions ->> 'outcome' = 'failed'), 0)::bigint as failed,
  coalesce(sum(metrics) filter (where dimensions ->> 'outcome' = 'cancelled'), 0)::bigint as cancelled
from metric_totals
where type = 'profile_updated'
  or type = 'job_duration' and dimensions ->> 'jobType' = 'neural.profile.update'
group by 1
