-- A past of growth.rows captures, in all workspaces there are and at the density of the contest's events: five hundred
-- a week and workspace, the last one a moment before growth.begin; a cluster for eight of them, an entity for each.
-- Vectors are left out, as no capture reads those of other observations. It adds up: `event_accounting` finds nothing
-- but that past captures have asked for no summaries.
set local synchronous_commit = off;
set local maintenance_work_mem = '512MB';
-- The foreign keys and guards of ten million rows one by one; what is made here obeys them.
set local session_replication_role = replica;

create temporary table indexes_to_make on commit drop as
select c.relname as name, pg_get_indexdef(i.indexrelid) as definition
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid in ('raw_payloads'::regclass, 'incoming_events'::regclass,
    'lightfast_workspace_workflow_runs'::regclass, 'lightfast_workspace_operations_metrics'::regclass,
    'lightfast_workspace_neural_observations'::regclass, 'lightfast_workspace_neural_entities'::regclass,
    'lightfast_workspace_observation_clusters'::regclass, 'observation_entities'::regclass)
  and not exists (select from pg_constraint k where k.conindid = i.indexrelid);
do $$
declare one record;
begin
  for one in select name from indexes_to_make loop
    execute format('drop index %I', one.name);
  end loop;
end $$;

create temporary table made on commit drop as
with places as (
  select id, clerk_org_id, row_number() over (order by id) - 1 as place, count(*) over () as workspaces
  from lightfast_org_workspaces
)
select g as id, w.id as workspace_id, w.clerk_org_id, (g - 1) / w.workspaces as number,
  1 + (g - 1) / w.workspaces / 8 * w.workspaces + w.place as cluster_id, g % 48 as person,
  current_setting('growth.begin')::timestamptz
    - (current_setting('growth.rows')::bigint - g + w.workspaces) / w.workspaces * interval '7 days' / 500 as moment
from generate_series(1, current_setting('growth.rows')::bigint) g
join places w on w.place = (g - 1) % w.workspaces;

insert into intakes (id, channel, received, accepted, duplicate, unsupported, invalid, created_at)
overriding system value
select 1 + (id - 1) / 500, 'cli', count(*), count(*), 0, 0, 0, max(moment) from made group by 1;
insert into raw_payloads (id, intake_id, workspace_id, source, event_type, delivery_id, body, received_at, disposition)
overriding system value
select id, 1 + (id - 1) / 500, workspace_id, 'github', 'issues', 'past-' || id,
  convert_to('{"text": "' || repeat('what was said then ', 20) || '"}', 'UTF8'), moment, 'accepted'
from made order by id;
insert into event_batches (id, function_id, state, trigger, run_id, epoch, events, bytes, assigned_at, taken_at,
  closed_at, close_reason)
overriding system value
select 1 + (id - 1) / 2000, 'neural.observation.capture', 'closed', 'automatic', 'run-' || 1 + (id - 1) / 2000, 1,
  count(*), 500 * count(*), min(moment), min(moment), max(moment), 'success'
from made group by 1, 5;
insert into incoming_events (id, workspace_id, function_id, source, delivery_id, raw_payload_id, payload, payload_bytes,
  received_at, due_at, attempt, batch_id, begun_at, outcome, outcome_at, output, work_ms)
overriding system value
select id, workspace_id, 'neural.observation.capture', 'github', 'past-' || id, id,
  jsonb_build_object('inngestFunctionId', 'neural.observation.capture', 'text', repeat('what was said then ', 20)), 500,
  moment, moment, 1, 1 + (id - 1) / 2000, moment, 'completed', moment + interval '2 seconds',
  jsonb_build_object('inngestFunctionId', 'neural.observation.capture', 'status', 'success',
    'observationId', 'past_' || id, 'entitiesExtracted', 1), 2
from made order by id;
insert into lightfast_workspace_workflow_runs (id, clerk_org_id, workspace_id, inngest_run_id, inngest_function_id, name,
  status, trigger, input, output, started_at, completed_at, duration_ms, created_at, updated_at, event_id, batch_id,
  dagster_run_id, attempt, work_ms)
overriding system value
select m.id, m.clerk_org_id, m.workspace_id, 'past-' || m.id, e.function_id, 'What happened then', 'completed', 'webhook',
  jsonb_build_object('inngestFunctionId', e.function_id, 'title', 'What happened then, number ' || m.id), e.output,
  e.begun_at, e.outcome_at, '2000', m.moment, e.outcome_at, m.id, e.batch_id, 'run-' || e.batch_id, 1, 2
from made m join incoming_events e on e.id = m.id order by m.id;
insert into lightfast_workspace_operations_metrics (clerk_org_id, workspace_id, type, value, unit, tags, timestamp,
  event_id)
select clerk_org_id, workspace_id, 'job_duration', 2000, 'ms', jsonb_build_object('jobType',
  'neural.observation.capture', 'outcome', 'completed', 'begun', true), moment + interval '2 seconds', id
from made order by id;

insert into lightfast_workspace_observation_clusters (id, external_id, workspace_id, topic_label, keywords,
  primary_entities, primary_actors, observation_count, first_observation_at, last_observation_at, centroid,
  centroid_model)
overriding system value
select cluster_id, 'past_' || cluster_id, min(workspace_id), 'What happened then',
  jsonb_build_array('then', 'thing' || cluster_id), jsonb_build_array('thing' || cluster_id), '[]', count(*),
  min(moment), max(moment), current_setting('growth.centroid')::vector, current_setting('growth.model')
from made group by cluster_id order by cluster_id;
insert into lightfast_workspace_neural_observations (id, external_id, workspace_id, cluster_id, occurred_at,
  captured_at, actor, observation_type, title, content, topics, significance_score, source, source_type, source_id,
  source_references, embedding_title_id, embedding_content_id, embedding_summary_id, event_id, canonical_actor_id,
  actor_method, primary_category, classified_by, created_at)
overriding system value
select id, 'past_' || id, workspace_id, cluster_id, moment, moment + interval '2 seconds',
  jsonb_build_object('id', person::text, 'name', 'person' || person), 'issue', 'What happened then, number ' || id,
  repeat('what was said then ', 20), '["then"]', 60, 'github', 'issue.opened', 'past:' || id,
  jsonb_build_array(jsonb_build_object('type', 'issue', 'id', '#' || id)), 'obs_title_past_' || id,
  'obs_content_past_' || id, 'obs_summary_past_' || id, id, 'github:' || person, 'github_id', 'bug_fix', 'offline:rules',
  moment + interval '2 seconds'
from made order by id;
insert into lightfast_workspace_neural_entities (id, external_id, workspace_id, category, key, source_observation_id,
  extracted_at, last_seen_at)
overriding system value
select id, 'past_' || id, workspace_id, 'reference', '#past' || id, id, moment, moment from made order by id;
insert into observation_entities (observation_id, entity_id, confidence, extracted_by)
select id, id, 0.9, 'rules' from made order by id;
insert into lightfast_workspace_actor_profiles (workspace_id, actor_id, display_name, observation_count, last_active_at)
select workspace_id, 'github:' || person, 'person' || person, count(*), max(moment) from made group by 1, 2, 3;

do $$
declare one record;
begin
  for one in select definition from indexes_to_make loop
    execute one.definition;
  end loop;
end $$;
select setval(pg_get_serial_sequence(t, 'id'), 2 * current_setting('growth.rows')::bigint)
from unnest(array['intakes', 'raw_payloads', 'event_batches', 'incoming_events', 'lightfast_workspace_workflow_runs',
  'lightfast_workspace_observation_clusters', 'lightfast_workspace_neural_observations',
  'lightfast_workspace_neural_entities']) t;
