-- What years of work leave behind, set-wise. Before: grown.after and grown.through, the ids of the executions to make.
-- One execution in ten minutes, each with its observation; workspaces take turns. What belongs to one does not grow
-- with the record: a cluster has four observations, an actor and an entity one.
set local synchronous_commit = off;
-- Neither foreign keys nor the guards of the lifecycle: these rows are as they should be.
set local session_replication_role = replica;
set local maintenance_work_mem = '256MB';

create temporary table indexes_to_make on commit drop as
select c.relname as name, pg_get_indexdef(i.indexrelid) as definition
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid::regclass::text in ('raw_payloads', 'incoming_events', 'lightfast_workspace_workflow_runs',
    'lightfast_workspace_operations_metrics', 'lightfast_workspace_neural_observations',
    'lightfast_workspace_neural_entities', 'lightfast_workspace_actor_profiles', 'lightfast_org_actor_identities',
    'observation_entities')
  and not exists (select from pg_constraint k where k.conindid = i.indexrelid);
-- An index that is made costs a third of one that is kept.
do $$
declare index record;
begin
  for index in select name from indexes_to_make loop
    execute format('drop index %I', index.name);
  end loop;
end $$;

create temporary table made on commit drop as
select id, 'ws_' || place % 20 as workspace_id,
  (array['neural.observation.capture', 'neural.profile.update', 'neural.cluster.summary',
    'neural.llm-entity-extraction'])[1 + place / 20 % 4] as function_id,
  case when place / 20 % 4 = 0 then 'github' else 'neural' end as source,
  case when place / 20 % 4 > 0 then id - 20 * (place / 20 % 4) end as parent_event_id,
  timestamptz '2024-01-01 00:00Z' + id * interval '10 minutes' as moment,
  1 + place / 100 as batch_id, id % 50 = 7 as has_failed,
  1 + place / 80 * 20 + place % 20 as cluster_id, id as person
from (
  select id, id - 1 as place
  from generate_series(current_setting('grown.after')::bigint + 1, current_setting('grown.through')::bigint) id
) numbered;

insert into intakes (channel, received, accepted, duplicate, unsupported, invalid, created_at)
select 'ingest', count(*), count(*), 0, 0, 0, max(moment)
from made where parent_event_id is null group by (id - 1) / 1000;
insert into raw_payloads (intake_id, workspace_id, source, event_type, delivery_id, headers, body, received_at,
  disposition, reason)
select 1 + id / 1000, workspace_id, 'github', 'push', 'old-' || id, '{}', '{}', moment,
  case when id % 100 = 0 then 'invalid' else 'accepted' end, case when id % 100 = 0 then 'not for us' end
from made order by id;
insert into event_batches (function_id, state, trigger, run_id, epoch, events, bytes, assigned_at, taken_at, closed_at,
  close_reason)
select 'neural.observation.capture', 'closed', 'automatic', 'run-' || batch_id, 1, count(*), 9, min(moment),
  min(moment), max(moment), 'success'
from made group by batch_id order by batch_id;
insert into batch_workspaces (batch_id, function_id, workspace_id, opened_at, closed_at)
select batch_id, min(function_id), workspace_id, min(moment), max(moment) from made group by batch_id, workspace_id
on conflict do nothing;

insert into incoming_events (id, workspace_id, function_id, source, delivery_id, raw_payload_id, parent_event_id,
  payload, payload_bytes, received_at, due_at, debounce_key, attempt, batch_id, begun_at, outcome, outcome_at, output,
  error_message, cause, work_ms)
overriding system value
select id, workspace_id, function_id, source, 'old-' || id, case when parent_event_id is null then id end,
  parent_event_id, jsonb_build_object('inngestFunctionId', function_id), 40, moment, moment,
  case when parent_event_id is not null then 'key-' || person end, 1, batch_id, moment,
  case when has_failed then 'failed' else 'completed' end, moment,
  jsonb_build_object('inngestFunctionId', function_id, 'status', 'success'),
  case when has_failed then 'it went wrong' end, case when has_failed then 'code_error' end, 5
from made order by id;
insert into lightfast_workspace_workflow_runs (clerk_org_id, workspace_id, inngest_run_id, inngest_function_id, name,
  status, trigger, input, output, error_message, started_at, completed_at, duration_ms, created_at, updated_at,
  event_id, batch_id, dagster_run_id, attempt, cause, work_ms)
select 'org_test', workspace_id, md5(id::text), function_id, 'Something ' || id,
  case when has_failed then 'failed' else 'completed' end, 'webhook',
  jsonb_build_object('inngestFunctionId', function_id, 'title', 'Something ' || id),
  jsonb_build_object('inngestFunctionId', function_id, 'status', 'success'),
  case when has_failed then 'it went wrong' end, moment, moment, '5', moment, moment, id, batch_id, 'run-' || batch_id,
  1, case when has_failed then 'code_error' end, 5
from made order by id;
insert into workflow_run_attempts (event_id, attempt, batch_id, cause, error_class, message, began_at, ended_at)
select id, 1, batch_id, 'code_error', 'ValueError', 'it went wrong', moment, moment from made where has_failed;
insert into lightfast_workspace_operations_metrics (clerk_org_id, workspace_id, type, value, unit, tags, timestamp,
  event_id)
select 'org_test', workspace_id, 'job_duration', 5, 'ms',
  jsonb_build_object('jobType', function_id, 'outcome', 'completed', 'begun', true), moment, id
from made order by id;

insert into lightfast_workspace_observation_clusters (external_id, workspace_id, topic_label, topic_embedding_id,
  observation_count, first_observation_at, last_observation_at, centroid, centroid_model)
select 'c' || cluster_id, workspace_id, 'Topic ' || cluster_id, 'c' || cluster_id, 4, min(moment), max(moment),
  array_fill(0.125::real, array[64])::vector, 'made-up'
from made group by cluster_id, workspace_id order by cluster_id;
insert into lightfast_workspace_actor_profiles (external_id, workspace_id, actor_id, display_name,
  observation_count, last_active_at)
select left(md5(person::text), 21), workspace_id, 'github:' || person, 'person' || person, 1, max(moment)
from made group by workspace_id, person;
insert into lightfast_org_actor_identities (clerk_org_id, canonical_actor_id, source, source_id, source_username,
  mapping_method, confidence_score)
select distinct 'org_test', 'github:' || person, 'github', person::text, 'person' || person, 'github_id', 1 from made;
insert into lightfast_workspace_neural_observations (external_id, workspace_id, cluster_id, occurred_at, captured_at,
  actor, observation_type, title, content, significance_score, source, source_type, source_id, source_references,
  embedding_title_id, embedding_content_id, embedding_summary_id, event_id, canonical_actor_id, actor_method,
  created_at)
select left(md5(id::text), 21), workspace_id, cluster_id, moment, moment,
  jsonb_build_object('id', person::text, 'name', 'person' || person), 'push', 'Something ' || id,
  'What happened', 60, 'github', 'push', 'old:' || id,
  jsonb_build_array(jsonb_build_object('type', 'commit', 'id', md5(id::text))), 'title_' || id, 'content_' || id,
  'summary_' || id, id, 'github:' || person, 'github_id', moment
from made order by id;
insert into lightfast_workspace_neural_entities (external_id, workspace_id, category, key, source_observation_id,
  extracted_at, last_seen_at)
select left(md5(id::text), 21), workspace_id, 'reference', 'thing' || id, id, moment, moment from made order by id;
insert into observation_entities (observation_id, entity_id, confidence, extracted_by)
select id, id, 0.9, 'rules' from made order by id;

do $$
declare index record;
begin
  for index in select definition from indexes_to_make loop
    execute index.definition;
  end loop;
end $$;
select setval(pg_get_serial_sequence('incoming_events', 'id'), max(id)) from incoming_events;
