-- Our own tables: what was received, what is to be done, who is doing it, and what became of it.

-- One row per call that hands payloads in; its counts are the independent record that raw_payloads is held against.
create table intakes (
  id bigint generated always as identity primary key,
  channel varchar(50) not null,
  triggered_by varchar(191),
  received integer not null,
  accepted integer not null,
  duplicate integer not null,
  unsupported integer not null,
  invalid integer not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint intake_adds_up check (received = accepted + duplicate + unsupported + invalid)
);

-- The bytes as received, whatever they are. workspace_id is what the sender named: it need not exist.
create table raw_payloads (
  id bigint generated always as identity primary key,
  intake_id bigint not null,
  workspace_id varchar(191) not null,
  source varchar(50) not null,
  event_type varchar(100) not null,
  delivery_id varchar(191) not null,
  headers jsonb not null default '{}',
  body bytea not null,
  received_at timestamptz not null default clock_timestamp(),
  disposition varchar(20) not null,
  reason varchar(1000),
  constraint payload_disposition_known check (disposition in ('accepted', 'duplicate', 'unsupported', 'invalid')),
  constraint payload_refusal_has_reason check (disposition = 'accepted' or reason is not null)
);
create index raw_payload_refused_idx on raw_payloads (received_at, id) where disposition <> 'accepted';
create index raw_payload_accepted_idx on raw_payloads (received_at, id) where disposition = 'accepted';
create index raw_payload_intake_idx on raw_payloads (intake_id);

-- The inbox: one row per execution to be done. The columns from begun_at on are facts, written once per attempt.
create table incoming_events (
  id bigint generated always as identity primary key,
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  function_id varchar(191) not null,
  source varchar(50) not null,
  delivery_id varchar(191) not null,
  raw_payload_id bigint,
  parent_event_id bigint,
  payload jsonb,
  payload_bytes integer not null,
  received_at timestamptz not null default clock_timestamp(),
  due_at timestamptz not null default clock_timestamp(),
  due_by timestamptz,
  debounce_key varchar(191),
  attempt integer not null default 0,
  losses integer not null default 0,
  reprocess boolean not null default false,
  cancel_requested_at timestamptz,
  cancel_requested_by varchar(191),
  batch_id bigint,
  begun_at timestamptz,
  outcome varchar(20),
  outcome_at timestamptz,
  output jsonb,
  error_message varchar(1000),
  cause varchar(50),
  work_ms integer,
  superseded_by bigint,
  -- retention took the payload; what is left is the record
  pruned_at timestamptz,
  constraint event_outcome_known check (outcome in ('completed', 'failed', 'cancelled', 'superseded')),
  constraint event_outcome_has_time check ((outcome is null) = (outcome_at is null)),
  constraint event_failure_has_reason check (outcome <> 'failed' or (error_message is not null and output is not null)),
  constraint event_has_payload check (payload is not null or (pruned_at is not null and outcome is not null))
);
create unique index incoming_event_delivery_idx
  on incoming_events (source, delivery_id, workspace_id, function_id);
create index incoming_event_waiting_idx on incoming_events (function_id, workspace_id, received_at, id, due_at)
  where batch_id is null and outcome is null;
create index incoming_event_due_idx on incoming_events (function_id, due_at)
  where batch_id is null and outcome is null;
create index incoming_event_batch_idx on incoming_events (batch_id) where batch_id is not null;
create index incoming_event_raw_payload_idx on incoming_events (raw_payload_id) where raw_payload_id is not null;
create index incoming_event_parent_idx on incoming_events (parent_event_id) where parent_event_id is not null;
create index incoming_event_ended_idx on incoming_events (outcome_at, id) where outcome is not null;
create index incoming_event_unpruned_idx on incoming_events (outcome_at, id)
  where outcome is not null and pruned_at is null;
create index incoming_event_superseded_idx on incoming_events (superseded_by) where superseded_by is not null;
create unique index incoming_event_debounce_idx on incoming_events (workspace_id, function_id, debounce_key)
  where debounce_key is not null and batch_id is null and outcome is null;

-- A batch belongs to one run: (id, run_id, epoch) is the fencing token of every write.
create table event_batches (
  id bigint generated always as identity primary key,
  function_id varchar(191) not null,
  state varchar(20) not null default 'open',
  trigger varchar(50) not null,
  run_id varchar(191),
  epoch integer not null default 0,
  events integer not null,
  bytes bigint not null,
  assigned_at timestamptz not null default clock_timestamp(),
  taken_at timestamptz,
  lease_until timestamptz,
  deadline_at timestamptz,
  closed_at timestamptz,
  close_reason varchar(50),
  stale_writes integer not null default 0,
  constraint batch_state_known check (state in ('open', 'running', 'closed')),
  constraint batch_running_has_run check (state <> 'running' or run_id is not null)
);
create index event_batch_unfinished_idx on event_batches (function_id, id) where state <> 'closed';
create index event_batch_run_idx on event_batches (run_id) where run_id is not null;
create index event_batch_closed_idx on event_batches (closed_at, id) where state = 'closed';

-- No two unfinished batches of a function hold the same workspace.
create table batch_workspaces (
  batch_id bigint not null references event_batches (id) on delete cascade,
  function_id varchar(191) not null,
  workspace_id varchar(191) not null,
  opened_at timestamptz not null default clock_timestamp(),
  closed_at timestamptz,
  primary key (batch_id, workspace_id)
);
create unique index batch_workspace_held_idx on batch_workspaces (function_id, workspace_id) where closed_at is null;

-- Every attempt's error is kept.
create table workflow_run_attempts (
  id bigint generated always as identity primary key,
  event_id bigint not null references incoming_events (id) on delete cascade,
  attempt integer not null,
  batch_id bigint,
  dagster_run_id varchar(191),
  step varchar(100),
  cause varchar(50) not null,
  error_class varchar(255),
  message text not null,
  stack text,
  began_at timestamptz,
  ended_at timestamptz not null default clock_timestamp()
);
create index workflow_run_attempt_event_idx on workflow_run_attempts (event_id);

-- A capture whose observation a later, reprocessing one has replaced: the record that it had one.
create table replaced_observations (
  event_id bigint primary key references incoming_events (id) on delete cascade,
  replaced_by_event_id bigint not null,
  external_id varchar(21) not null,
  replaced_at timestamptz not null default clock_timestamp()
);
create index replaced_observation_by_idx on replaced_observations (replaced_by_event_id);

create table observation_entities (
  observation_id bigint not null references lightfast_workspace_neural_observations (id) on delete cascade,
  entity_id bigint not null references lightfast_workspace_neural_entities (id) on delete cascade,
  confidence real not null,
  evidence_snippet text,
  extracted_by varchar(100) not null,
  primary key (observation_id, entity_id)
);
create index observation_entity_entity_idx on observation_entities (entity_id, observation_id);

-- New vectors land here, without an index for approximate search: an HNSW index costs inserts twenty times their price.
create table observation_vectors (
  observation_id bigint not null references lightfast_workspace_neural_observations (id) on delete cascade,
  view varchar(20) not null,
  workspace_id varchar(191) not null,
  model varchar(100) not null,
  embedding vector not null,
  primary key (observation_id, view)
);
-- Search compares the summary: only its rows are looked for, and moved into the indexed part.
create index observation_vector_tail_idx on observation_vectors (workspace_id, model) where view = 'summary';

-- The indexed part of the vectors, filled in bulk: an index for approximate search per model and view is made with it.
create table indexed_vectors (
  observation_id bigint not null references lightfast_workspace_neural_observations (id) on delete cascade,
  view varchar(20) not null,
  workspace_id varchar(191) not null,
  model varchar(100) not null,
  embedding vector not null,
  primary key (observation_id, view)
);
create index indexed_vector_workspace_idx on indexed_vectors (workspace_id, model, view);

-- One row per call of a model. A call reserves its tokens before it is made, so that no budget is overdrawn; a row
-- without an outcome is a call whose worker died: its reservation counts, as nobody knows what it used.
create table model_calls (
  id bigint generated always as identity primary key,
  day date not null,
  workspace_id varchar(191) not null,
  event_id bigint,
  function_id varchar(191) not null,
  step varchar(100) not null,
  model varchar(100) not null,
  reserved_tokens integer not null,
  input_tokens integer,
  output_tokens integer,
  duration_ms integer,
  outcome varchar(50),
  reason varchar(1000),
  called_at timestamptz not null default clock_timestamp()
);
create index model_call_day_idx on model_calls (day);
create index model_call_called_idx on model_calls (called_at, id);
create index model_call_event_idx on model_calls (event_id) where event_id is not null;

-- What the calls of a day (UTC) have used or hold reserved: the sum of model_calls, so that a reservation need not add
-- up the day, and the row that reservations wait for one another at.
create table model_days (
  day date primary key,
  tokens bigint not null
);

-- What a model has answered for an event, kept before the event is stored: a lost run does not pay twice.
create table model_answers (
  event_id bigint not null references incoming_events (id) on delete cascade,
  step varchar(100) not null,
  model varchar(100) not null,
  question_hash varchar(64) not null,
  answer jsonb not null,
  input_tokens integer not null,
  output_tokens integer not null,
  answered_at timestamptz not null default clock_timestamp(),
  primary key (event_id, step)
);

-- What retention removed, so that accounting still adds up. `record` is a table, for raw_payloads with the disposition.
create table pruned_counters (
  record varchar(50) not null,
  day date not null,
  removed bigint not null,
  primary key (record, day)
);

create function neural_refuse_unqueued_run() returns trigger language plpgsql as $$
begin
  raise exception 'a workflow run begins as queued, not as %', new.status using errcode = 'check_violation';
end $$;
create trigger run_begins_queued before insert on lightfast_workspace_workflow_runs
  for each row when (new.status <> 'queued') execute function neural_refuse_unqueued_run();

-- Legal moves: queued -> running; queued | running -> queued; queued | running -> completed | failed | cancelled.
-- As every move out of an unfinished state is legal, it is enough to freeze the finished ones, links excepted.
create function neural_freeze_finished_run() returns trigger language plpgsql as $$
declare
  links constant text[] := array['superseded_by', 'updated_at'];
begin
  if to_jsonb(new) - links is distinct from to_jsonb(old) - links then
    raise exception 'workflow run % is %: a finished run does not change', old.id, old.status
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger run_finished_is_final before update on lightfast_workspace_workflow_runs
  for each row when (old.status in ('completed', 'failed', 'cancelled')) execute function neural_freeze_finished_run();

-- Who waits for work, or for its end, is told at once. Announcements carry nothing and those of a transaction are one:
-- what is to be done stands in the tables.
create function neural_announce() returns trigger language plpgsql as $$
begin
  perform pg_notify(tg_argv[0], '');
  return null;
end $$;
create trigger event_waits after insert on incoming_events
  for each statement execute function neural_announce('neural_due');
-- No old or new rows are collected for it: it costs a chunk of any size the same.
create trigger event_has_outcome after update of outcome on incoming_events
  for each statement execute function neural_announce('neural_outcomes');
create trigger batch_is_closed after update on event_batches
  for each row when (new.state = 'closed' and old.state <> 'closed') execute function neural_announce('neural_due');
create trigger workspace_is_free after update of closed_at on batch_workspaces
  for each statement execute function neural_announce('neural_due');

-- Tables that change with every event: statistics and dead rows must not wait for a fifth of the table.
alter table incoming_events set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table observation_vectors set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table event_batches set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table batch_workspaces set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table lightfast_workspace_workflow_runs
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table lightfast_workspace_neural_entities
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table lightfast_workspace_observation_clusters
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
-- Tables that are only added to: without a vacuum now and then, what is counted by an index is looked up row by row.
alter table raw_payloads set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
alter table lightfast_workspace_operations_metrics
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
alter table lightfast_workspace_neural_observations
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);
alter table observation_entities
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
alter table workflow_run_attempts
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
alter table lightfast_workspace_actor_profiles
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table lightfast_org_actor_identities
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);

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
