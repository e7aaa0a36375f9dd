"""The reference's tables as its readers know them: what `test_schema` expects, written from the specification.

Not from the SQL: section 7 of the specification, with the deviations that its section 10 asks for. A column reads
`name type`, then `?` where null is allowed, then its default.
"""

COLUMNS = {
    "lightfast_org_workspaces": """
        id varchar(191) nanoid, clerk_org_id varchar(191), name varchar(191), slug varchar(191), settings jsonb,
        created_at timestamptz now, updated_at timestamptz now""",
    "lightfast_workspace_integrations": """
        id varchar(191) nanoid, workspace_id varchar(191), user_source_id varchar(191), connected_by varchar(191),
        source_config jsonb, provider_resource_id varchar(191), is_active boolean true, last_synced_at timestamptz?,
        last_sync_status varchar(50)?, last_sync_error text?, document_count integer 0, connected_at timestamptz now,
        created_at timestamptz now, updated_at timestamptz now""",
    "lightfast_user_sources": """
        id varchar(191) nanoid, user_id varchar(191), source_type varchar(50), access_token text, refresh_token text?,
        token_expires_at timestamptz?, scopes text[]?, provider_metadata jsonb, is_active boolean true,
        created_at timestamptz now, updated_at timestamptz now""",
    "lightfast_workspace_workflow_runs": """
        id bigint identity, clerk_org_id varchar(191), workspace_id varchar(191), repository_id varchar(191)?,
        inngest_run_id varchar(191), inngest_function_id varchar(191), name varchar(191), status varchar(50) queued,
        trigger varchar(50), triggered_by varchar(191)?, input jsonb?, output jsonb?, error_message varchar(1000)?,
        started_at timestamptz?, completed_at timestamptz?, duration_ms varchar(50)?, created_at timestamptz now,
        updated_at timestamptz now""",
    "lightfast_workspace_operations_metrics": """
        id bigint identity, clerk_org_id varchar(191), workspace_id varchar(191), repository_id varchar(191)?,
        type varchar(50), value integer, unit varchar(20)?, tags jsonb?, timestamp timestamptz now,
        created_at timestamptz now""",
    "lightfast_workspace_neural_observations": """
        id bigint identity, external_id varchar(21) nanoid, workspace_id varchar(191), cluster_id bigint?,
        occurred_at timestamptz, captured_at timestamptz now, actor jsonb?, actor_id bigint?,
        observation_type varchar(100), title text, content text, topics jsonb?, significance_score real?,
        source varchar(50), source_type varchar(100), source_id varchar(255), source_references jsonb?,
        metadata jsonb?, embedding_vector_id varchar(191)?, embedding_title_id varchar(191)?,
        embedding_content_id varchar(191)?, embedding_summary_id varchar(191)?, created_at timestamptz now""",
    "lightfast_workspace_neural_entities": """
        id bigint identity, external_id varchar(21) nanoid, workspace_id varchar(191), category varchar(50),
        key varchar(500), value text?, aliases jsonb?, source_observation_id bigint?, evidence_snippet text?,
        confidence real? 0.8, extracted_at timestamptz now, last_seen_at timestamptz now, occurrence_count integer 1,
        created_at timestamptz now, updated_at timestamptz now""",
    "lightfast_workspace_observation_clusters": """
        id bigint identity, external_id varchar(21) nanoid, workspace_id varchar(191), topic_label varchar(255),
        topic_embedding_id varchar(191)?, keywords jsonb?, primary_entities jsonb?, primary_actors jsonb?,
        status varchar(50) open, summary text?, summary_generated_at timestamptz?, observation_count integer 0,
        first_observation_at timestamptz?, last_observation_at timestamptz?, created_at timestamptz now,
        updated_at timestamptz now""",
    "lightfast_workspace_actor_profiles": """
        id bigint identity, external_id varchar(21) nanoid, workspace_id varchar(191), actor_id varchar(191),
        display_name varchar(255), email varchar(255)?, observation_count integer 0, last_active_at timestamptz?,
        profile_confidence real?, created_at timestamptz now, updated_at timestamptz now""",
    "lightfast_org_actor_identities": """
        id bigint identity, clerk_org_id varchar(191), canonical_actor_id varchar(191), source varchar(50),
        source_id varchar(255), source_username varchar(255)?, source_email varchar(255)?, avatar_url text?,
        clerk_user_id varchar(191)?, mapping_method varchar(50), confidence_score real, mapped_by varchar(191)?,
        mapped_at timestamptz now""",
    "lightfast_workspace_webhook_payloads": """
        id bigint identity, workspace_id varchar(191), delivery_id varchar(191), source varchar(50),
        event_type varchar(100), payload jsonb, headers jsonb, received_at timestamptz, created_at timestamptz now""",
    "lightfast_workspace_temporal_states": """
        id bigint identity, workspace_id varchar(191), entity_type varchar(50), entity_id varchar(191),
        entity_name varchar(255)?, state_type varchar(50), state_value varchar(255), previous_value varchar(255)?,
        state_metadata jsonb?, valid_from timestamptz, valid_to timestamptz?, is_current boolean true,
        changed_by_actor_id varchar(191)?, change_reason text?, source_observation_id varchar(191)?,
        source varchar(50)?, created_at timestamptz now""",
    "lightfast_workspace_knowledge_documents": """
        id varchar(191), workspace_id varchar(191), source_type varchar(50), source_id varchar(255),
        source_metadata jsonb, parent_doc_id varchar(191)?, slug varchar(256), content_hash varchar(64),
        config_hash varchar(64)?, chunk_count integer 0, relationships jsonb?, created_at timestamptz now,
        updated_at timestamptz now""",
    "lightfast_workspace_knowledge_vector_chunks": """
        id varchar(191), workspace_id varchar(191), doc_id varchar(191), chunk_index integer,
        content_hash varchar(64), upserted_at timestamptz now""",
}

INDEXES = {
    "lightfast_org_workspaces": """
        workspace_clerk_org_id_idx (clerk_org_id)
        workspace_org_name_idx unique (clerk_org_id, name)
        workspace_slug_idx (slug)""",
    "lightfast_workspace_integrations": """
        workspace_source_workspace_id_idx (workspace_id)
        workspace_source_user_source_id_idx (user_source_id)
        workspace_source_connected_by_idx (connected_by)
        workspace_source_is_active_idx (is_active)
        workspace_source_provider_resource_id_idx (provider_resource_id)""",
    # D-46: an execution is unique.
    "lightfast_workspace_workflow_runs": """
        job_clerk_org_id_idx (clerk_org_id)
        job_workspace_id_idx (workspace_id)
        job_repository_id_idx (repository_id)
        job_status_idx (status)
        job_inngest_run_id_idx (inngest_run_id)
        job_workspace_created_at_idx (workspace_id, created_at)
        job_execution_idx unique (workspace_id, inngest_function_id, inngest_run_id)""",
    "lightfast_workspace_operations_metrics": """
        ops_metric_clerk_org_id_idx (clerk_org_id)
        ops_metric_workspace_id_idx (workspace_id)
        ops_metric_repository_id_idx (repository_id)
        ops_metric_type_idx (type)
        ops_metric_workspace_type_timestamp_idx (workspace_id, type, timestamp)
        ops_metric_timestamp_idx (timestamp)""",
    # D-46: unique per workspace and source id; 7.5: containment queries need a GIN index.
    "lightfast_workspace_neural_observations": """
        obs_external_id_idx unique (external_id)
        obs_workspace_occurred_idx (workspace_id, occurred_at)
        obs_cluster_idx (cluster_id)
        obs_source_idx (workspace_id, source, source_type)
        obs_source_id_idx unique (workspace_id, source_id)
        obs_type_idx (workspace_id, observation_type)
        obs_embedding_title_idx (workspace_id, embedding_title_id)
        obs_embedding_content_idx (workspace_id, embedding_content_id)
        obs_embedding_summary_idx (workspace_id, embedding_summary_id)
        obs_references_idx gin (source_references jsonb_path_ops)""",
    # D-79: one normal form of a key.
    "lightfast_workspace_neural_entities": """
        entity_external_id_idx unique (external_id)
        entity_workspace_category_key_idx unique (workspace_id, category, lower(key))
        entity_workspace_category_idx (workspace_id, category)
        entity_workspace_key_idx (workspace_id, key)
        entity_workspace_last_seen_idx (workspace_id, last_seen_at)""",
    "lightfast_workspace_observation_clusters": """
        cluster_external_id_idx unique (external_id)
        cluster_workspace_status_idx (workspace_id, status)
        cluster_last_observation_idx (workspace_id, last_observation_at)""",
    "lightfast_workspace_actor_profiles": """
        actor_profile_external_id_idx unique (external_id)
        actor_profile_unique_idx unique (workspace_id, actor_id)
        actor_profile_workspace_idx (workspace_id)
        actor_profile_last_active_idx (workspace_id, last_active_at)""",
    "lightfast_org_actor_identities": """
        org_actor_identity_unique_idx unique (clerk_org_id, source, source_id)
        org_actor_identity_canonical_idx (clerk_org_id, canonical_actor_id)
        org_actor_identity_clerk_user_idx (clerk_org_id, clerk_user_id)
        org_actor_identity_username_idx (clerk_org_id, source_username)""",
    # D-23: a redelivery is not stored again.
    "lightfast_workspace_webhook_payloads": """
        webhook_payload_workspace_received_idx (workspace_id, received_at)
        webhook_payload_delivery_idx (delivery_id)
        webhook_payload_workspace_source_idx (workspace_id, source, event_type)
        webhook_payload_unique_idx unique (source, delivery_id, workspace_id)""",
    "lightfast_workspace_temporal_states": """
        temporal_entity_time_idx (workspace_id, entity_type, entity_id, state_type, valid_from)
        temporal_current_idx (workspace_id, entity_type, entity_id, is_current)
        temporal_workspace_entity_idx (workspace_id, entity_type)
        temporal_source_obs_idx (source_observation_id)""",
    # D-71: two repositories of one workspace may hold the same path.
    "lightfast_workspace_knowledge_documents": """
        idx_docs_workspace (workspace_id)
        idx_docs_workspace_slug (workspace_id, slug)
        idx_docs_source_type (source_type)
        idx_docs_source_id (source_type, source_id)
        uq_docs_workspace_source unique (workspace_id, source_type, repository_id, source_id)""",
    "lightfast_workspace_knowledge_vector_chunks": """
        idx_vec_workspace_doc (workspace_id, doc_id)
        uq_vec_unique unique (workspace_id, doc_id, chunk_index, content_hash)""",
    # Decisions 3, 8, 11 and 12.
    "incoming_events": """
        incoming_event_delivery_idx unique (source, delivery_id, workspace_id, function_id)""",
    "batch_workspaces": """
        batch_workspace_held_idx unique (function_id, workspace_id) where (closed_at is null)""",
}
