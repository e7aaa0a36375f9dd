-- The record of ninety days, set-wise. Before: quarter.runs. Ids go from 1 up, in the order of acceptance.
select setseed(0.4);

insert into lightfast_org_workspaces (id, clerk_org_id, name, slug, settings)
select 'ws_' || n, 'org_' || n % 3, 'Workspace ' || n, 'workspace-' || n,
  jsonb_build_object('version', 1, 'embedding', jsonb_build_object('namespaceName', 'quarter'))
from generate_series(0, 19) n;

-- Ten executions belong together: a capture with its three children, and six that became no observation.
create unlogged table made as
with drawn as (
  select g as id, (g - 1) / 10 as family, (g - 1) % 10 as place, current_setting('quarter.runs')::bigint as runs,
    random() as luck, random() as second, random() as third,
    sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) as z,
    sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) as y
  from generate_series(1, current_setting('quarter.runs')::bigint) g
), placed as (
  select *,
    'ws_' || floor(20 * ((family * 37 % 64) / 64.0) ^ 1.6) as workspace_id,
    case family % 10 when 0 then 'vercel' when 1 then 'vercel' when 2 then 'git' else 'github' end as source,
    case place when 1 then 'neural.profile.update' when 2 then 'neural.cluster.summary'
      when 3 then 'neural.llm-entity-extraction' else 'neural.observation.capture' end as function_id,
    now() - interval '90 days 2 minutes' + id * interval '90 days' / runs + luck * interval '30 seconds' as created_at
  from drawn
), fated as (
  select *,
    case when id > runs - greatest(40, runs / 2500) then null
      when place = 0 then 'completed'
      when place <= 3 then case when luck < 0.01 then 'failed' when luck < 0.4 and id + 640 <= runs then 'superseded'
        else 'completed' end
      when luck < 0.03 then 'failed' when luck < 0.04 then 'cancelled' else 'completed' end as outcome,
    created_at + case when place between 1 and 3 then interval '1 minute' + second * interval '4 minutes'
      else interval '0' end as due_at,
    exp(8.3 + y) * interval '1 millisecond' as waited,
    exp(z + case place when 1 then 4 when 2 then 7.8 when 3 then 8.2 else 6.8 end) * interval '1 millisecond' as worked
  from placed
), timed as (
  select *, outcome is distinct from 'superseded' and not (outcome = 'cancelled' and second < 0.5) as begins
  from fated
), moved as (
  select *, case when begins then due_at + waited end as began_at,
    case when begins then due_at + waited + worked else created_at + second * interval '1 minute' end as ended_at
  from timed
), seen as (
  select *, case when ended_at < now() then outcome end as seen_outcome from moved
)
select id, family, place, workspace_id, 'org_' || split_part(workspace_id, '_', 2)::integer % 3 as clerk_org_id, source,
  function_id, created_at, due_at, luck, second, third, seen_outcome as outcome,
  case when seen_outcome is not null then began_at end as started_at,
  case when seen_outcome is not null then ended_at end as completed_at,
  case when place not between 1 and 3 then id end as raw_payload_id,
  case when place between 1 and 3 then id - place end as parent_event_id,
  case when seen_outcome = 'superseded' then id + 640 end as superseded_by,
  case when seen_outcome is not null and begins then 1 + id / 2000 * 4 + least(place, 4) % 4 end as batch_id,
  case seen_outcome when 'failed' then 'failure' when 'superseded' then 'skipped' when 'completed' then
    case when place > 3 then 'filtered' when place between 2 and 3 and luck < 0.6 then 'skipped' else 'success' end
  end as result,
  case when place > 3 then case when luck < 0.35 then 'duplicate' when luck < 0.55 then 'event_not_allowed'
      else 'below_threshold' end
    when seen_outcome = 'superseded' then 'superseded' when place = 2 then 'summary_recent'
    when place = 3 then 'budget_exhausted' end as reason,
  case when second < 0.6 then 'code_error' when second < 0.8 then 'rejected' when second < 0.9 then 'timeout'
    else 'worker_lost' end as cause
from seen;
create unique index on made (id);
analyze made;

insert into intakes (channel, received, accepted, duplicate, unsupported, invalid, created_at)
select 'ingest', count(*) + 20, count(*), 10, 5, 5, min(created_at) from made where raw_payload_id is not null
group by id / 1000 order by id / 1000;
insert into raw_payloads (id, intake_id, workspace_id, source, event_type, delivery_id, headers, body, received_at,
  disposition, reason)
overriding system value
select id, 1 + id / 1000, workspace_id, source, 'push', 'delivery-' || id, '{}'::jsonb,
  convert_to(repeat('{"ref": "refs/heads/main"} ', 10), 'UTF8'), created_at, 'accepted', null
from made where raw_payload_id is not null
union all
select current_setting('quarter.runs')::bigint + 20 * (i.id - 1) + n, i.id, 'ws_0', 'github', 'push',
  'refused-' || i.id || '-' || n, '{}'::jsonb, convert_to('{}', 'UTF8'), i.created_at,
  case when n <= 10 then 'duplicate' when n <= 15 then 'unsupported' else 'invalid' end, 'not for us'
from intakes i cross join generate_series(1, 20) n
order by 1;

insert into event_batches (id, function_id, state, trigger, run_id, events, bytes, assigned_at, taken_at, closed_at)
overriding system value
select batch_id, min(function_id), 'closed', 'automatic', 'run-' || batch_id, count(*), 300 * count(*),
  min(due_at), min(started_at), max(completed_at)
from made where batch_id is not null group by 1;
insert into incoming_events (id, workspace_id, function_id, source, delivery_id, raw_payload_id, parent_event_id,
  payload, payload_bytes, received_at, due_at, attempt, batch_id, begun_at, outcome, outcome_at, output, error_message,
  cause, work_ms, superseded_by)
overriding system value
select id, workspace_id, function_id, case when parent_event_id is null then source else 'internal' end,
  'delivery-' || id, raw_payload_id, parent_event_id,
  jsonb_build_object('inngestFunctionId', function_id, 'text', repeat('something happened ', 10)), 300, created_at,
  due_at, case when started_at is null then 0 else 1 end, batch_id, started_at, outcome, completed_at,
  case when outcome is not null then jsonb_strip_nulls(jsonb_build_object('inngestFunctionId', function_id,
    'status', result, 'reason', case when result in ('filtered', 'skipped') then reason end)) end,
  case outcome when 'failed' then 'something went wrong' end, case outcome when 'failed' then cause end,
  case when started_at is not null then least(50, extract(epoch from completed_at - started_at) * 1000)::integer end,
  superseded_by
from made order by id;
insert into workflow_run_attempts (event_id, attempt, batch_id, cause, error_class, message, began_at, ended_at)
select id, 1, batch_id, cause, 'ValueError', 'something went wrong', started_at, completed_at
from made where outcome = 'failed' order by id;

-- The guard of the first state looks at rows one by one; these are ended already.
alter table lightfast_workspace_workflow_runs disable trigger run_begins_queued;
insert into lightfast_workspace_workflow_runs (id, clerk_org_id, workspace_id, inngest_run_id, inngest_function_id, name,
  status, trigger, input, output, error_message, started_at, completed_at, duration_ms, created_at, updated_at,
  event_id, batch_id, dagster_run_id, attempt, cause, work_ms, superseded_by)
overriding system value
select m.id, m.clerk_org_id, m.workspace_id, 'execution-' || m.id, m.function_id, 'Something ' || m.id,
  case m.outcome when 'superseded' then 'completed' else coalesce(m.outcome, 'queued') end,
  case when m.parent_event_id is null then 'webhook' else 'automatic' end,
  jsonb_build_object('inngestFunctionId', m.function_id, 'title', 'Something happened ' || m.id), e.output,
  e.error_message, m.started_at, m.completed_at,
  floor(extract(epoch from m.completed_at - coalesce(m.started_at, m.completed_at)) * 1000)::bigint::text,
  m.created_at, coalesce(m.completed_at, m.created_at), m.id, m.batch_id, 'run-' || m.batch_id, e.attempt, e.cause,
  e.work_ms, m.superseded_by
from made m join incoming_events e on e.id = m.id order by m.id;
alter table lightfast_workspace_workflow_runs enable trigger run_begins_queued;

insert into lightfast_workspace_observation_clusters (id, workspace_id, topic_label, status, observation_count,
  first_observation_at, last_observation_at, summary, summary_generated_at)
overriding system value
select 1 + family % (64 * 40), min(workspace_id), 'Topic ' || min(family), 'open', count(*), min(created_at),
  max(created_at), case when count(*) > 4 then 'What it is about' end, case when count(*) > 4 then max(created_at) end
from made where place = 0 and outcome = 'completed' group by 1;
insert into lightfast_workspace_actor_profiles (workspace_id, actor_id, display_name, observation_count, last_active_at)
select workspace_id, 'github:' || floor(300 * second ^ 3), 'person' || floor(300 * second ^ 3), count(*), max(created_at)
from made where place = 0 and outcome = 'completed' group by 1, 2, 3;
insert into lightfast_workspace_neural_observations (workspace_id, cluster_id, occurred_at, captured_at, actor,
  observation_type, title, content, significance_score, source, source_type, source_id, event_id, canonical_actor_id,
  actor_method, primary_category, classified_by, created_at)
select workspace_id, 1 + family % (64 * 40), created_at, completed_at,
  case when luck < 0.95 then jsonb_build_object('id', floor(300 * second ^ 3), 'name', 'person') end,
  case when third < 0.5 then 'push' else 'pull_request' end, 'Something happened ' || id,
  repeat('what exactly happened is told here ', 10), 40 + floor(60 * third), source, 'push', source || ':' || id, id,
  case when luck < 0.95 then 'github:' || floor(300 * second ^ 3) end,
  case when luck >= 0.95 then 'none' when third < 0.7 then 'github_id' when third < 0.9 then 'username'
    else 'commit_sha' end,
  (array['feature', 'bug_fix', 'documentation', 'refactoring', 'infrastructure'])[1 + floor(5 * third)],
  case when third < 0.5 then 'openai:gpt-5-mini' else 'offline:rules' end, completed_at
from made where place = 0 and outcome = 'completed' order by id;
insert into lightfast_workspace_neural_entities (workspace_id, category, key, source_observation_id, extracted_at,
  last_seen_at, occurrence_count)
select workspace_id, (array['engineer', 'project', 'endpoint', 'config', 'reference', 'service'])[1 + n % 6],
  'thing' || n, min(id), min(created_at), max(created_at), count(*)
from (
  select id, workspace_id, created_at, (id * 7919 + k * k * 104729) % (200 + 800 * k) as n
  from lightfast_workspace_neural_observations cross join generate_series(1, 3) k
) mentions
group by workspace_id, n;
insert into observation_entities (observation_id, entity_id, confidence, extracted_by)
select distinct o.id, e.id, 0.9, 'rules'
from lightfast_workspace_neural_observations o cross join generate_series(1, 3) k
join lightfast_workspace_neural_entities e on e.workspace_id = o.workspace_id
  and lower(e.key) = 'thing' || (o.id * 7919 + k * k * 104729) % (200 + 800 * k)
  and e.category = (array['engineer', 'project', 'endpoint', 'config', 'reference', 'service'])[
    1 + ((o.id * 7919 + k * k * 104729) % (200 + 800 * k)) % 6];

insert into model_calls (day, workspace_id, event_id, function_id, step, model, reserved_tokens, input_tokens,
  output_tokens, duration_ms, outcome, called_at)
select (started_at at time zone 'UTC')::date, workspace_id, id, function_id,
  case place when 0 then 'classify' when 2 then 'summarise' else 'extract' end,
  case when place = 0 then 'openai:gpt-5-mini' else 'anthropic:claude-haiku-4-5' end, 2500,
  500 + floor(1000 * third), 100 + floor(200 * luck), 300 + floor(2000 * second),
  case when third < 0.95 then 'answered' when third < 0.97 then 'rate_limited' when third < 0.99 then 'timed_out'
    when third < 0.999 then 'invalid_answer' end, started_at
from made where place in (0, 2, 3) and started_at is not null and outcome <> 'cancelled' and (place = 0 or luck > 0.6)
order by started_at;
insert into model_days (day, tokens) select day, sum(input_tokens + output_tokens) from model_calls group by 1;

-- Tags as those who write them write them, in the order in which they are written.
create unlogged table made_metrics as
with durations as (
  select *, case when completed_at > coalesce(started_at, completed_at)
      then floor(extract(epoch from completed_at - started_at) * 1000) else 0 end::integer as run_ms,
    floor(extract(epoch from started_at - due_at) * 1000)::integer as queue_wait_ms,
    floor(extract(epoch from completed_at - created_at) * 1000)::integer as total_ms,
    case outcome when 'superseded' then 'completed' else outcome end as status,
    case when parent_event_id is null then source end as provider,
    case when parent_event_id is null then 'webhook' else 'automatic' end as trigger
  from made where outcome is not null
), captured as (
  select *, jsonb_build_object('source', source) as its_source, (1 + family % (64 * 40))::text as cluster,
    luck < 0.3 as began_cluster
  from durations where place = 0
), told as (
  select d.*, 'job_duration' as type, run_ms as value, 'ms' as unit,
    jsonb_strip_nulls(jsonb_build_object('jobType', function_id, 'trigger', trigger, 'outcome', status,
      'result', case when outcome = 'superseded' then outcome else result end, 'begun', started_at is not null,
      'sourceType', provider, 'queueWaitMs', queue_wait_ms, 'totalMs', total_ms)) as tags
  from durations d
  union all
  select d.*, 'errors', 1, 'count', jsonb_strip_nulls(jsonb_build_object('jobType', function_id,
    'errorType', 'job_failure', 'trigger', trigger, 'cause', cause, 'sourceType', provider))
  from durations d where outcome = 'failed'
  union all
  select d.*, case reason when 'duplicate' then 'observation_duplicate' when 'event_not_allowed' then
      'observation_filtered' else 'observation_below_threshold' end, 1, 'count',
    jsonb_build_object('source', source, 'sourceType', 'push', 'durationMs', 20)
  from durations d where place > 3 and outcome = 'completed'
  union all
  select d.*, case place when 1 then 'profile_updated' when 2 then 'cluster_summary_generated' else
      'entities_extracted' end, case place when 3 then 4 else 1 end, 'count',
    case place when 1 then jsonb_build_object('actorId', 'github:' || floor(300 * second ^ 3))
      when 2 then jsonb_build_object('clusterId', (1 + family % (64 * 40))::text, 'observationCount', 20)
      else jsonb_build_object('observationId', md5(id::text), 'entityCount', 4, 'source', 'openai:gpt-5-mini') end
  from durations d where place between 1 and 3 and outcome = 'completed' and result = 'success'
  union all
  select (d).*, t.type, t.value, 'count', jsonb_strip_nulls(t.tags)
  from (select d, c.* from durations d join captured c using (id)) c
  cross join lateral (values
    ('observation_captured', 1, its_source || jsonb_build_object('sourceType', 'push', 'observationType',
      case when third < 0.5 then 'push' else 'pull_request' end, 'significanceScore', 40 + floor(60 * third),
      'durationMs', 20, 'classificationFallback', case when third < 0.5 then luck < 0.04 end)),
    ('actor_resolution', case when luck < 0.95 then 1 end, its_source || jsonb_build_object('resolved',
      third < 0.7 or third >= 0.9, 'method', case when third < 0.7 then 'github_id' when third < 0.9 then 'username'
      else 'commit_sha' end)),
    ('entities_extracted', floor(6 * second)::integer, its_source || jsonb_build_object('observationId',
      md5(id::text), 'entityCount', floor(6 * second))),
    ('cluster_assigned', 1, jsonb_build_object('clusterId', cluster, 'isNew', began_cluster, 'observationCount', 5)),
    ('cluster_affinity', 1, jsonb_build_object('clusterId', cluster, 'joined', not began_cluster,
      'affinityScore', case when not began_cluster then round((60 + 40 * third)::numeric, 2) end,
      'bestRejectedScore', case when second < 0.8 then round((60 * second)::numeric, 2) end))
  ) as t (type, value, tags)
  where t.value is not null
)
select row_number() over (order by completed_at, id, type) as place, clerk_org_id, workspace_id, type, value, unit, tags,
  completed_at, id as event_id
from told
union all
select 0, 'org_0', 'ws_0', 'documents_indexed', 10 + n % 50, 'count', jsonb_build_object('jobType',
  'sync.orchestrator', 'sourceType', 'github', 'syncMode', 'incremental', 'filesProcessed', 10 + n % 50),
  now() - n * interval '4 hours', null
from generate_series(1, 500) n;
create index on made_metrics (place);

select setval(pg_get_serial_sequence(t, 'id'), 10 * current_setting('quarter.runs')::bigint)
from unnest(array['raw_payloads', 'event_batches', 'incoming_events', 'lightfast_workspace_workflow_runs',
  'lightfast_workspace_observation_clusters']) t;
