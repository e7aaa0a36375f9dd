
-- completed / (completed + failed), in percent: the one definition of a success rate. Null where nothing ended.
create function neural_success_rate(completed numeric, failed numeric) returns numeric
language sql immutable parallel safe as $$
  select round(100 * completed / nullif(completed + failed, 0), 2)
$$;

-- The logarithmic bucket of a duration: ceil(log_g(ms)) with g = 1.01 / 0.99, so that the middle of a bucket is within
-- 1 % of all that is in it (DDSketch: Masson, Rim and Lee, VLDB 2019). 0 ms has a bucket of its own, -1.
create function neural_duration_bucket(ms bigint) returns smallint language sql immutable parallel safe as $$
  select case when ms <= 0 then -1 else ceil(ln(ms::float8) / ln(1.01::float8 / 0.99) - 1e-9) end::smallint
$$;
create function neural_bucket_ms(bucket smallint) returns bigint language sql immutable parallel safe as $$
  select case when bucket < 0 then 0 else round((2 * (1.01::float8 / 0.99) ^ bucket / (1.01::float8 / 0.99 + 1))::numeric)
  end::bigint
$$;

-- The three durations of an execution: waiting for its turn, being worked on, and both since it was accepted.
-- One that never began has no run time and no queue wait. What is no number counts as not there: a single odd row must
-- not stop all others from being added up.
create function neural_durations(run_ms integer, tags jsonb)
returns table (measure text, milliseconds bigint) language sql immutable parallel safe as $$
  select * from (values
    ('run', case when tags -> 'begun' is distinct from 'false' then run_ms::bigint end),
    ('queue', case jsonb_typeof(tags -> 'queueWaitMs') when 'number'
      then least(floor((tags -> 'queueWaitMs')::numeric), 2147483647)::bigint end),
    ('total', case jsonb_typeof(tags -> 'totalMs') when 'number'
      then least(floor((tags -> 'totalMs')::numeric), 2147483647)::bigint end)
  ) as measures (measure, milliseconds) where milliseconds is not null
$$;

-- Percentiles of a histogram by nearest rank, as buckets: the first one by which so many of all are reached. Buckets may
-- come in any order, and more than once.
create function neural_percentiles(buckets smallint[], counts bigint[])
returns table (runs bigint, p50 smallint, p95 smallint, p99 smallint, longest smallint)
language sql immutable parallel safe as $$
  select max(reached)::bigint, min(bucket) filter (where reached >= 0.50 * of_all),
    min(bucket) filter (where reached >= 0.95 * of_all), min(bucket) filter (where reached >= 0.99 * of_all), max(bucket)
  from (
    select bucket, sum(number) over (order by bucket) as reached, sum(number) over () as of_all
    from unnest(buckets, counts) as counted (bucket, number)
  ) ranked
$$;

-- The lower end of the band of ten points that an affinity (0 to 100) lies in; 100 belongs to the last.
create function neural_affinity_band(score jsonb) returns integer language sql immutable parallel safe as $$
  select case when jsonb_typeof(score) = 'number' then least(floor(score::numeric / 10) * 10, 90)::integer end
$$;

-- The job history as a whole, page by page.

-- Metrics added up by day, so that no report reads a million rows. What is added up already: all rows of
-- lightfast_workspace_operations_metrics up to `through_id`; the views add the rows behind it, so they are exact at any
-- time. Derived: whoever empties these tables and sets through_id to 0 loses nothing but time.
create table rollup_progress (
  only_row boolean primary key default true check (only_row),
  through_id bigint not null,
  refreshed_at timestamptz not null default clock_timestamp()
);
insert into rollup_progress (through_id) values (0);

-- The tags by which metrics of a type are told apart in reports: those with few values. Stable, as what makes JSON is:
-- declared immutable it would be called row by row, which takes three times as long as its text in place.
create function neural_metric_dimensions(type text, tags jsonb) returns jsonb language sql stable parallel safe as $$
  select jsonb_strip_nulls(case type
    when 'job_duration' then jsonb_build_object('jobType', tags -> 'jobType', 'outcome', tags -> 'outcome',
      'result', tags -> 'result', 'sourceType', tags -> 'sourceType', 'trigger', tags -> 'trigger')
    when 'errors' then jsonb_build_object('jobType', tags -> 'jobType', 'errorType', tags -> 'errorType',
      'cause', tags -> 'cause', 'sourceType', tags -> 'sourceType')
    when 'documents_indexed' then jsonb_build_object('jobType', tags -> 'jobType',
      'sourceType', tags -> 'sourceType', 'syncMode', tags -> 'syncMode')
    when 'entities_extracted' then jsonb_build_object('source', tags -> 'source')
    when 'cluster_assigned' then jsonb_build_object('isNew', tags -> 'isNew')
    when 'actor_resolution' then jsonb_build_object('source', tags -> 'source', 'method', tags -> 'method',
      'resolved', tags -> 'resolved')
    when 'cluster_affinity' then jsonb_build_object('joined', tags -> 'joined',
      'band', neural_affinity_band(tags -> 'affinityScore'),
      'rejectedBand', neural_affinity_band(tags -> 'bestRejectedScore'))
    when 'cluster_summary_generated' then '{}'
    when 'profile_updated' then '{}'
    else jsonb_build_object('source', tags -> 'source', 'observationType', tags -> 'observationType',
      'classificationFallback', tags -> 'classificationFallback')
  end)
$$;

create table metric_days (
  day date not null,
  type varchar(50) not null,
  dimensions jsonb not null,
  metrics bigint not null,
  total bigint not null,
  primary key (day, type, dimensions)
);

create table metric_hours (
  hour timestamptz not null,
  job_type varchar(191) not null,
  outcome varchar(20) not null,
  runs bigint not null,
  begun bigint not null,
  run_ms bigint not null,
  primary key (hour, job_type, outcome)
);

-- Durations as histograms of logarithmic buckets, which add up where percentiles do not.
create table duration_days (
  day date not null,
  job_type varchar(191) not null,
  outcome varchar(20) not null,
  measure varchar(20) not null,
  bucket smallint not null,
  runs bigint not null,
  primary key (day, job_type, outcome, measure, bucket)
);

-- The percentiles of each day's histograms, made anew whenever one is added to: to read all days, no bucket is added up.
create table percentile_days (
  day date not null,
  job_type varchar(191) not null,
  outcome varchar(20) not null,
  measure varchar(20) not null,
  runs bigint not null,
  p50 smallint not null,
  p95 smallint not null,
  p99 smallint not null,
  longest smallint not null,
  primary key (day, job_type, outcome, measure)
);

-- A metric as the three tables count it.
create view metrics_behind as
select m.id, (m.timestamp at time zone 'UTC')::date as day, date_trunc('hour', m.timestamp, 'UTC') as hour,
  m.type, m.value, m.tags,
  -- A row that lacks one must not stop all others from being added up.
  coalesce(m.tags ->> 'jobType', 'unknown') as job_type, coalesce(m.tags ->> 'outcome', 'unknown') as outcome,
  m.tags -> 'begun' is distinct from 'false' as is_begun
from lightfast_workspace_operations_metrics m
-- Two bounds, as the planner takes one alone for a third of the table.
where m.id > (select through_id from rollup_progress) and m.id < 9223372036854775807;

create view metric_totals as
select day, type, dimensions, sum(metrics)::bigint as metrics, sum(total)::bigint as total
from (
  select day, type, dimensions, metrics, total from metric_days
  union all
  select day, type, neural_metric_dimensions(type, tags), count(*), sum(value) from metrics_behind group by 1, 2, 3
) parts
group by 1, 2, 3;

create view run_hours as
select hour, job_type, outcome, sum(runs)::bigint as runs, sum(begun)::bigint as begun, sum(run_ms)::bigint as run_ms
from (
  select hour, job_type, outcome, runs, begun, run_ms from metric_hours
  union all
  select hour, job_type, outcome, count(*), count(*) filter (where is_begun), sum(value)
  from metrics_behind where type = 'job_duration' group by 1, 2, 3
) parts
group by 1, 2, 3;

create view duration_histogram as
select day, job_type, outcome, measure, bucket, sum(runs)::bigint as runs
from (
  select day, job_type, outcome, measure, bucket, runs from duration_days
  union all
  select day, job_type, outcome, measure, neural_duration_bucket(milliseconds), count(*)
  from metrics_behind cross join lateral neural_durations(value, tags)
  where type = 'job_duration' group by 1, 2, 3, 4, 5
) parts
group by 1, 2, 3, 4, 5;

-- What goes with a workspace must go from the sums too: they are made anew from what is left.
create function neural_forget_rollups() returns trigger language plpgsql as $$
begin
  if not exists (select from gone) then
    return null;
  end if;
  update rollup_progress set through_id = 0;
  delete from metric_days;
  delete from metric_hours;
  delete from duration_days;
  delete from percentile_days;
  return null;
end $$;
create trigger rollups_follow_workspaces after delete on lightfast_org_workspaces
  referencing old table as gone for each statement execute function neural_forget_rollups();

-- What each audit of the whole record (the view event_accounting) has found.
create table accounting_audits (
  id bigint generated always as identity primary key,
  audit_id uuid not null,
  audited_at timestamptz not null,
  rule varchar(191) not null,
  expected bigint not null,
  found bigint not null,
  unexplained bigint not null
);
create index accounting_audit_latest_idx on accounting_audits (audited_at, audit_id);

-- Who cannot be resolved as nobody acted is no attempt: such events are not written any more (docs/metrics.md).
delete from lightfast_workspace_operations_metrics where type = 'actor_resolution' and tags ->> 'method' = 'none';

-- Executions that ended before their turn came had no duration so far. Each that ended has one.
insert into lightfast_workspace_operations_metrics
  (clerk_org_id, workspace_id, repository_id, type, value, unit, tags, timestamp, event_id)
select r.clerk_org_id, r.workspace_id, r.repository_id, 'job_duration', 0, 'ms',
  jsonb_strip_nulls(jsonb_build_object('jobType', r.inngest_function_id, 'trigger', r.trigger, 'outcome', r.status,
    'result', case e.outcome when 'superseded' then e.outcome else r.output ->> 'status' end, 'begun', false,
    'sourceType', r.input ->> case r.inngest_function_id when 'neural.observation.capture' then 'source'
      else 'sourceType' end, 'syncMode', r.input ->> 'syncMode',
    'totalMs', least(greatest(floor(extract(epoch from r.completed_at - r.created_at) * 1000), 0), 2147483647)::integer)),
  r.completed_at, r.event_id
from lightfast_workspace_workflow_runs r
join incoming_events e on e.id = r.event_id
where r.completed_at is not null and r.started_at is null;

-- Of whose events the captures were that failed or were cancelled; of the others their own metrics tell.
update lightfast_workspace_operations_metrics m
set tags = m.tags || jsonb_build_object('sourceType', r.input -> 'source')
from lightfast_workspace_workflow_runs r
where r.event_id = m.event_id and r.inngest_function_id = 'neural.observation.capture' and r.input ? 'source'
  and r.status in ('failed', 'cancelled') and m.type in ('job_duration', 'errors') and not m.tags ? 'sourceType';

-- Pages of history without a filter. Last, as nobody can hand in an event while it is made.
create index job_created_at_idx on lightfast_workspace_workflow_runs (created_at, id);
