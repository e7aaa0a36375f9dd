-- Waiting for a lock must not hold up everybody behind us: the caller has set lock_timeout.

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

-- With due_at in it, what waits but is not due is passed over without a look at its row.
drop index incoming_event_waiting_idx;
create index incoming_event_waiting_idx on incoming_events (function_id, workspace_id, received_at, id, due_at)
  where batch_id is null and outcome is null;
