create extension if not exists vector;

-- 21 random characters of [A-Za-z0-9_-], the shape of a nanoid.
create function neural_nanoid() returns text language sql volatile as $$
  select substr(translate(encode(decode(md5(gen_random_uuid()::text), 'hex'), 'base64'), '+/=', '-_'), 1, 21)
$$;
-- Tables of the reference system: names, columns, defaults and indexes are a contract with existing readers.
-- What the reference lacks stands at the end of a table, after the comment "beside".

create table lightfast_org_workspaces (
  id varchar(191) primary key default neural_nanoid(),
  clerk_org_id varchar(191) not null,
  name varchar(191) not null,
  slug varchar(191) not null,
  settings jsonb not null,
  created_at timestamptz not null default current_timestamp,
  updated_at timestamptz not null default current_timestamp
);
create index workspace_clerk_org_id_idx on lightfast_org_workspaces (clerk_org_id);
create unique index workspace_org_name_idx on lightfast_org_workspaces (clerk_org_id, name);
create index workspace_slug_idx on lightfast_org_workspaces (slug);

create table lightfast_user_sources (
  id varchar(191) primary key default neural_nanoid(),
  user_id varchar(191) not null,
  source_type varchar(50) not null,
  access_token text not null,
  refresh_token text,
  token_expires_at timestamptz,
  scopes text[],
  provider_metadata jsonb not null,
  is_active boolean not null default true,
  created_at timestamptz not null default current_timestamp,
  updated_at timestamptz not null default current_timestamp
);

create table lightfast_workspace_integrations (
  id varchar(191) primary key default neural_nanoid(),
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  user_source_id varchar(191) not null references lightfast_user_sources (id) on delete cascade,
  connected_by varchar(191) not null,
  source_config jsonb not null,
  provider_resource_id varchar(191) not null,
  is_active boolean not null default true,
  last_synced_at timestamptz,
  last_sync_status varchar(50),
  last_sync_error text,
  document_count integer not null default 0,
  connected_at timestamptz not null default current_timestamp,
  created_at timestamptz not null default current_timestamp,
  updated_at timestamptz not null default current_timestamp
);
create index workspace_source_workspace_id_idx on lightfast_workspace_integrations (workspace_id);
create index workspace_source_user_source_id_idx on lightfast_workspace_integrations (user_source_id);
create index workspace_source_connected_by_idx on lightfast_workspace_integrations (connected_by);
create index workspace_source_is_active_idx on lightfast_workspace_integrations (is_active);
create index workspace_source_provider_resource_id_idx on lightfast_workspace_integrations (provider_resource_id);

create table lightfast_workspace_workflow_runs (
  id bigint generated always as identity primary key,
  clerk_org_id varchar(191) not null,
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  repository_id varchar(191),
  inngest_run_id varchar(191) not null,
  inngest_function_id varchar(191) not null,
  name varchar(191) not null,
  status varchar(50) not null default 'queued',
  trigger varchar(50) not null,
  triggered_by varchar(191),
  input jsonb,
  output jsonb,
  error_message varchar(1000),
  started_at timestamptz,
  completed_at timestamptz,
  duration_ms varchar(50),
  created_at timestamptz not null default current_timestamp,
  updated_at timestamptz not null default current_timestamp,
  -- beside
  event_id bigint,
  batch_id bigint,
  dagster_run_id varchar(191),
  attempt integer not null default 0,
  cause varchar(50),
  work_ms integer,
  replay_of bigint,
  replay_request_id varchar(191),
  superseded_by bigint,
  constraint run_status_known check (status in ('queued', 'running', 'completed', 'failed', 'cancelled')),
  constraint run_trigger_known check (trigger in ('manual', 'scheduled', 'webhook', 'automatic')),
  constraint run_terminal_has_end check (status in ('queued', 'running') or completed_at is not null),
  constraint run_failure_has_reason check (status <> 'failed' or (error_message is not null and output is not null)),
  constraint run_output_of_its_function
    check (output is null or output ->> 'inngestFunctionId' is not distinct from inngest_function_id)
);
create index job_clerk_org_id_idx on lightfast_workspace_workflow_runs (clerk_org_id);
create index job_workspace_id_idx on lightfast_workspace_workflow_runs (workspace_id);
create index job_repository_id_idx on lightfast_workspace_workflow_runs (repository_id);
create index job_status_idx on lightfast_workspace_workflow_runs (status);
create index job_inngest_run_id_idx on lightfast_workspace_workflow_runs (inngest_run_id);
create index job_workspace_created_at_idx on lightfast_workspace_workflow_runs (workspace_id, created_at);
create unique index job_execution_idx
  on lightfast_workspace_workflow_runs (workspace_id, inngest_function_id, inngest_run_id);
create unique index job_event_idx on lightfast_workspace_workflow_runs (event_id);
create index job_function_created_at_idx on lightfast_workspace_workflow_runs (inngest_function_id, created_at, id);
create index job_failed_idx on lightfast_workspace_workflow_runs (created_at, id) where status = 'failed';
create unique index job_replay_idx on lightfast_workspace_workflow_runs (replay_of, replay_request_id)
  where replay_of is not null;

create table lightfast_workspace_operations_metrics (
  id bigint generated always as identity primary key,
  clerk_org_id varchar(191) not null,
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  repository_id varchar(191),
  type varchar(50) not null,
  value integer not null,
  unit varchar(20),
  tags jsonb,
  timestamp timestamptz not null default current_timestamp,
  created_at timestamptz not null default current_timestamp,
  -- beside
  event_id bigint
);
create index ops_metric_clerk_org_id_idx on lightfast_workspace_operations_metrics (clerk_org_id);
create index ops_metric_workspace_id_idx on lightfast_workspace_operations_metrics (workspace_id);
create index ops_metric_repository_id_idx on lightfast_workspace_operations_metrics (repository_id);
create index ops_metric_type_idx on lightfast_workspace_operations_metrics (type);
create index ops_metric_workspace_type_timestamp_idx
  on lightfast_workspace_operations_metrics (workspace_id, type, timestamp);
create index ops_metric_timestamp_idx on lightfast_workspace_operations_metrics (timestamp);

create table lightfast_workspace_neural_observations (
  id bigint generated always as identity primary key,
  external_id varchar(21) not null default neural_nanoid(),
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  cluster_id bigint,
  occurred_at timestamptz not null,
  captured_at timestamptz not null default current_timestamp,
  actor jsonb,
  actor_id bigint,
  observation_type varchar(100) not null,
  title text not null,
  content text not null,
  topics jsonb,
  significance_score real,
  source varchar(50) not null,
  source_type varchar(100) not null,
  source_id varchar(255) not null,
  source_references jsonb,
  metadata jsonb,
  embedding_vector_id varchar(191),
  embedding_title_id varchar(191),
  embedding_content_id varchar(191),
  embedding_summary_id varchar(191),
  created_at timestamptz not null default current_timestamp,
  -- beside
  event_id bigint,
  canonical_actor_id varchar(191),
  actor_method varchar(20),
  significance_factors jsonb,
  primary_category varchar(50),
  secondary_categories jsonb,
  classification_confidence real,
  classified_by varchar(100)
);
create unique index obs_external_id_idx on lightfast_workspace_neural_observations (external_id);
create index obs_workspace_occurred_idx on lightfast_workspace_neural_observations (workspace_id, occurred_at);
create index obs_cluster_idx on lightfast_workspace_neural_observations (cluster_id);
create index obs_source_idx on lightfast_workspace_neural_observations (workspace_id, source, source_type);
create unique index obs_source_id_idx on lightfast_workspace_neural_observations (workspace_id, source_id);
create index obs_type_idx on lightfast_workspace_neural_observations (workspace_id, observation_type);
create index obs_embedding_title_idx on lightfast_workspace_neural_observations (workspace_id, embedding_title_id);
create index obs_embedding_content_idx on lightfast_workspace_neural_observations (workspace_id, embedding_content_id);
create index obs_embedding_summary_idx on lightfast_workspace_neural_observations (workspace_id, embedding_summary_id);
create index obs_references_idx on lightfast_workspace_neural_observations using gin (source_references jsonb_path_ops);
create index obs_actor_idx on lightfast_workspace_neural_observations (workspace_id, canonical_actor_id, occurred_at);

create table lightfast_workspace_neural_entities (
  id bigint generated always as identity primary key,
  external_id varchar(21) not null default neural_nanoid(),
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  category varchar(50) not null,
  key varchar(500) not null,
  value text,
  aliases jsonb,
  source_observation_id bigint references lightfast_workspace_neural_observations (id) on delete set null,
  evidence_snippet text,
  confidence real default 0.8,
  extracted_at timestamptz not null default current_timestamp,
  last_seen_at timestamptz not null default current_timestamp,
  occurrence_count integer not null default 1,
  created_at timestamptz not null default current_timestamp,
  updated_at timestamptz not null default current_timestamp
);
create unique index entity_external_id_idx on lightfast_workspace_neural_entities (external_id);
create unique index entity_workspace_category_key_idx
  on lightfast_workspace_neural_entities (workspace_id, category, lower(key));
create index entity_workspace_category_idx on lightfast_workspace_neural_entities (workspace_id, category);
create index entity_workspace_key_idx on lightfast_workspace_neural_entities (workspace_id, key);
create index entity_workspace_last_seen_idx on lightfast_workspace_neural_entities (workspace_id, last_seen_at);
create index entity_source_observation_idx on lightfast_workspace_neural_entities (source_observation_id);

create table lightfast_workspace_observation_clusters (
  id bigint generated always as identity primary key,
  external_id varchar(21) not null default neural_nanoid(),
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  topic_label varchar(255) not null,
  topic_embedding_id varchar(191),
  keywords jsonb,
  primary_entities jsonb,
  primary_actors jsonb,
  status varchar(50) not null default 'open',
  summary text,
  summary_generated_at timestamptz,
  observation_count integer not null default 0,
  first_observation_at timestamptz,
  last_observation_at timestamptz,
  created_at timestamptz not null default current_timestamp,
  updated_at timestamptz not null default current_timestamp,
  -- beside
  centroid vector,
  key_topics jsonb,
  key_contributors jsonb,
  activity varchar(50)
);
create unique index cluster_external_id_idx on lightfast_workspace_observation_clusters (external_id);
create index cluster_workspace_status_idx on lightfast_workspace_observation_clusters (workspace_id, status);
create index cluster_last_observation_idx
  on lightfast_workspace_observation_clusters (workspace_id, last_observation_at);

create table lightfast_workspace_actor_profiles (
  id bigint generated always as identity primary key,
  external_id varchar(21) not null default neural_nanoid(),
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  actor_id varchar(191) not null,
  display_name varchar(255) not null,
  email varchar(255),
  observation_count integer not null default 0,
  last_active_at timestamptz,
  profile_confidence real,
  created_at timestamptz not null default current_timestamp,
  updated_at timestamptz not null default current_timestamp
);
create unique index actor_profile_external_id_idx on lightfast_workspace_actor_profiles (external_id);
create unique index actor_profile_unique_idx on lightfast_workspace_actor_profiles (workspace_id, actor_id);
create index actor_profile_workspace_idx on lightfast_workspace_actor_profiles (workspace_id);
create index actor_profile_last_active_idx on lightfast_workspace_actor_profiles (workspace_id, last_active_at);

create table lightfast_org_actor_identities (
  id bigint generated always as identity primary key,
  clerk_org_id varchar(191) not null,
  canonical_actor_id varchar(191) not null,
  source varchar(50) not null,
  source_id varchar(255) not null,
  source_username varchar(255),
  source_email varchar(255),
  avatar_url text,
  clerk_user_id varchar(191),
  mapping_method varchar(50) not null,
  confidence_score real not null,
  mapped_by varchar(191),
  mapped_at timestamptz not null default current_timestamp
);
create unique index org_actor_identity_unique_idx on lightfast_org_actor_identities (clerk_org_id, source, source_id);
create index org_actor_identity_canonical_idx on lightfast_org_actor_identities (clerk_org_id, canonical_actor_id);
create index org_actor_identity_clerk_user_idx on lightfast_org_actor_identities (clerk_org_id, clerk_user_id);
create index org_actor_identity_username_idx on lightfast_org_actor_identities (clerk_org_id, source_username);

create table lightfast_workspace_webhook_payloads (
  id bigint generated always as identity primary key,
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  delivery_id varchar(191) not null,
  source varchar(50) not null,
  event_type varchar(100) not null,
  payload jsonb not null,
  headers jsonb not null,
  received_at timestamptz not null,
  created_at timestamptz not null default current_timestamp
);
create index webhook_payload_workspace_received_idx on lightfast_workspace_webhook_payloads (workspace_id, received_at);
create index webhook_payload_delivery_idx on lightfast_workspace_webhook_payloads (delivery_id);
create index webhook_payload_workspace_source_idx
  on lightfast_workspace_webhook_payloads (workspace_id, source, event_type);
create unique index webhook_payload_unique_idx
  on lightfast_workspace_webhook_payloads (source, delivery_id, workspace_id);

create table lightfast_workspace_temporal_states (
  id bigint generated always as identity primary key,
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  entity_type varchar(50) not null,
  entity_id varchar(191) not null,
  entity_name varchar(255),
  state_type varchar(50) not null,
  state_value varchar(255) not null,
  previous_value varchar(255),
  state_metadata jsonb,
  valid_from timestamptz not null,
  valid_to timestamptz,
  is_current boolean not null default true,
  changed_by_actor_id varchar(191),
  change_reason text,
  source_observation_id varchar(191),
  source varchar(50),
  created_at timestamptz not null default current_timestamp
);
create index temporal_entity_time_idx
  on lightfast_workspace_temporal_states (workspace_id, entity_type, entity_id, state_type, valid_from);
create index temporal_current_idx
  on lightfast_workspace_temporal_states (workspace_id, entity_type, entity_id, is_current);
create index temporal_workspace_entity_idx on lightfast_workspace_temporal_states (workspace_id, entity_type);
create index temporal_source_obs_idx on lightfast_workspace_temporal_states (source_observation_id);

create table lightfast_workspace_knowledge_documents (
  id varchar(191) primary key,
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  source_type varchar(50) not null,
  source_id varchar(255) not null,
  source_metadata jsonb not null,
  parent_doc_id varchar(191),
  slug varchar(256) not null,
  content_hash varchar(64) not null,
  config_hash varchar(64),
  chunk_count integer not null default 0,
  relationships jsonb,
  created_at timestamptz not null default current_timestamp,
  updated_at timestamptz not null default current_timestamp,
  -- beside: two repositories of one workspace may hold the same path
  repository_id varchar(191) not null default ''
);
create index idx_docs_workspace on lightfast_workspace_knowledge_documents (workspace_id);
create index idx_docs_workspace_slug on lightfast_workspace_knowledge_documents (workspace_id, slug);
create index idx_docs_source_type on lightfast_workspace_knowledge_documents (source_type);
create index idx_docs_source_id on lightfast_workspace_knowledge_documents (source_type, source_id);
create unique index uq_docs_workspace_source
  on lightfast_workspace_knowledge_documents (workspace_id, source_type, repository_id, source_id);

create table lightfast_workspace_knowledge_vector_chunks (
  id varchar(191) primary key,
  workspace_id varchar(191) not null references lightfast_org_workspaces (id) on delete cascade,
  doc_id varchar(191) not null references lightfast_workspace_knowledge_documents (id) on delete cascade,
  chunk_index integer not null,
  content_hash varchar(64) not null,
  upserted_at timestamptz not null default current_timestamp
);
create index idx_vec_workspace_doc on lightfast_workspace_knowledge_vector_chunks (workspace_id, doc_id);
create unique index uq_vec_unique
  on lightfast_workspace_knowledge_vector_chunks (workspace_id, doc_id, chunk_index, content_hash);
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
  payload jsonb not null,
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
  constraint event_outcome_known check (outcome in ('completed', 'failed', 'cancelled', 'superseded')),
  constraint event_outcome_has_time check ((outcome is null) = (outcome_at is null)),
  constraint event_failure_has_reason check (outcome <> 'failed' or (error_message is not null and output is not null))
);
create unique index incoming_event_delivery_idx
  on incoming_events (source, delivery_id, workspace_id, function_id);
create index incoming_event_waiting_idx on incoming_events (function_id, workspace_id, received_at, id)
  where batch_id is null and outcome is null;
create index incoming_event_due_idx on incoming_events (function_id, due_at)
  where batch_id is null and outcome is null;
create index incoming_event_batch_idx on incoming_events (batch_id) where batch_id is not null;
create index incoming_event_raw_payload_idx on incoming_events (raw_payload_id) where raw_payload_id is not null;
create index incoming_event_parent_idx on incoming_events (parent_event_id) where parent_event_id is not null;
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

-- Tables that change with every event: statistics and dead rows must not wait for a fifth of the table.
alter table incoming_events set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table event_batches set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table batch_workspaces set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table lightfast_workspace_workflow_runs
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table lightfast_workspace_neural_entities
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table lightfast_workspace_observation_clusters
  set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
