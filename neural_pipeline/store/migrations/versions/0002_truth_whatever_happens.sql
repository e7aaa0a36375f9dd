alter table incoming_events alter column payload drop not null;
alter table incoming_events add column pruned_at timestamptz;
alter table incoming_events add constraint event_has_payload
  check (payload is not null or (pruned_at is not null and outcome is not null));
create index incoming_event_ended_idx on incoming_events (outcome_at, id) where outcome is not null;
create index incoming_event_unpruned_idx on incoming_events (outcome_at, id)
  where outcome is not null and pruned_at is null;

create index raw_payload_accepted_idx on raw_payloads (received_at, id) where disposition = 'accepted';

create index event_batch_closed_idx on event_batches (closed_at, id) where state = 'closed';

create table replaced_observations (
  event_id bigint primary key references incoming_events (id) on delete cascade,
  replaced_by_event_id bigint not null,
  external_id varchar(21) not null,
  replaced_at timestamptz not null default clock_timestamp()
);
create index replaced_observation_by_idx on replaced_observations (replaced_by_event_id);

create index obs_event_idx on lightfast_workspace_neural_observations (event_id) where event_id is not null;
