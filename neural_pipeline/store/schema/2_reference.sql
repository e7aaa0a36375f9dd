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
create index job_created_at_idx on lightfast_workspace_workflow_runs (created_at, id);
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
  classified_by varchar(100),
  classification_note varchar(255)
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
create index obs_event_idx on lightfast_workspace_neural_observations (event_id) where event_id is not null;
create index obs_actor_idx on lightfast_workspace_neural_observations (workspace_id, canonical_actor_id, occurred_at);
create index obs_actor_name_idx
  on lightfast_workspace_neural_observations (workspace_id, lower(actor ->> 'name'), occurred_at);

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
create index entity_workspace_lower_key_idx on lightfast_workspace_neural_entities (workspace_id, lower(key));
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
  activity varchar(50),
  centroid_model varchar(100),
  summarized_by varchar(100)
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
  updated_at timestamptz not null default current_timestamp,
  -- beside
  merged_into varchar(191)
);
create unique index actor_profile_external_id_idx on lightfast_workspace_actor_profiles (external_id);
create unique index actor_profile_unique_idx on lightfast_workspace_actor_profiles (workspace_id, actor_id);
create index actor_profile_workspace_idx on lightfast_workspace_actor_profiles (workspace_id);
create index actor_profile_last_active_idx on lightfast_workspace_actor_profiles (workspace_id, last_active_at);
create index actor_profile_name_idx on lightfast_workspace_actor_profiles (workspace_id, lower(display_name));

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
create index org_actor_identity_login_idx on lightfast_org_actor_identities (clerk_org_id, lower(source_username));

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
